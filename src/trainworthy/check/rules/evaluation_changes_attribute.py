"""One evaluation changes an attribute for good.

What it finds:
    In `forward`, under `if not self.training:`, an attribute of the module is set, and the branch for training does not
    set it back. Also `self.p = self.p if self.training else 0.0`, and entries of a dictionary that is an attribute.

Why:
    The attribute keeps the value: after the first validation, training goes on with it. With a dropout rate, there
    is no dropout any more.

How sure:
    Certain that the value stays. Only numbers and booleans that are written out are reported; caches are not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training:
            self.p = 0.0  # <- TW370
        return nn.functional.dropout(x, self.p, self.training)
"""

GOOD = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        p = self.p if self.training else 0.0
        return nn.functional.dropout(x, p, self.training)
"""


@rule(code="TW370", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at branches on the mode in methods called forward."""
    if "training" not in analysis.source.words:
        return
    for cls in analysis.classes:
        for name, member in cls.members.items():
            node = getattr(member, "node", None)
            if name == "forward" and isinstance(node, ast.FunctionDef):
                yield from _in_forward(analysis, node)


def _in_forward(analysis: Analysis, forward: ast.FunctionDef) -> Iterator[Hit]:
    yield from _chosen_by_mode(analysis, forward)
    yield from _entries(analysis, forward)
    stores: dict[str, int] = {}  # how often each attribute is set in the whole function
    for one in walk(forward):
        if isinstance(one, ast.Assign):
            for attr in _set_on_self(one):
                stores[attr] = stores.get(attr, 0) + 1
    for one in walk(forward):
        if not isinstance(one, ast.If):
            continue
        for statement in _evaluation_branch(one):
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                for attr in _set_on_self(statement):
                    if isinstance(statement.value.value, int | float) and stores[attr] == 1:
                        yield Hit(
                            place=analysis.place(statement),
                            message=f"`self.{attr}` is {statement.value.value} from the first evaluation on, "
                            f"in training "
                            "too",
                            fix="Use a local variable.",
                        )


def _evaluation_branch(node: ast.If) -> list[ast.stmt]:
    test = node.test
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return node.body if _is_mode(test.operand) else []
    return node.orelse if _is_mode(test) else []


def _is_mode(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "training" and getattr(node.value, "id", "") == "self"


def _set_on_self(node: ast.Assign) -> Iterator[str]:
    for target in node.targets:
        if isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self":
            yield target.attr


def _chosen_by_mode(analysis: Analysis, forward: ast.FunctionDef) -> Iterator[Hit]:
    """Yield an attribute that is itself in training and a number in evaluation, and is set nowhere else in forward."""
    for one in nodes_of(forward, ast.Assign):
        if not isinstance(one.value, ast.IfExp) or len(one.targets) != 1:
            continue
        plain, value = one.value.body, one.value.orelse
        test = one.value.test
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            plain, value, test = value, plain, test.operand
        attr = next(_set_on_self(one), None)
        itself = attr is not None and unparsed(plain) == f"self.{attr}"
        others = [each for each in nodes_of(forward, ast.Assign) if each is not one and attr in [*_set_on_self(each)]]
        if itself and _is_mode(test) and _is_number(value) and not others:
            yield _hit(analysis, one, f"self.{attr}", unparsed(value))


def _entries(analysis: Analysis, forward: ast.FunctionDef) -> Iterator[Hit]:
    """Yield entries of a dictionary of the module that get a number in evaluation and nothing in training."""
    for one in nodes_of(forward, ast.If):
        for statement in _evaluation_branch(one):
            for held, key, value in _stored_entries(statement):
                of = _on_self(held, forward)
                elsewhere = of is not None and _stored_elsewhere(forward, statement, unparsed(held), key)
                if of is not None and _is_number(value) and not elsewhere:
                    yield _hit(analysis, statement, f"{of}[{key!r}]", unparsed(value))
                    break


def _stored_entries(statement: ast.stmt) -> Iterator[tuple[ast.expr, str, ast.expr]]:
    """Yield the dictionary, the key and the value of what a statement writes: by an index, or by `update`."""
    if isinstance(statement, ast.Assign):
        for target in statement.targets:
            key = getattr(target.slice, "value", None) if isinstance(target, ast.Subscript) else None
            if isinstance(target, ast.Subscript) and isinstance(key, str):
                yield target.value, key, statement.value
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "update":
        for given in call.keywords:
            if given.arg is not None:
                yield call.func.value, given.arg, given.value
        for one in call.args[:1]:
            for name, value in zip(one.keys, one.values, strict=True) if isinstance(one, ast.Dict) else ():
                if isinstance(name, ast.Constant) and isinstance(name.value, str):
                    yield call.func.value, name.value, value


def _on_self(held: ast.expr, forward: ast.FunctionDef) -> str | None:
    """Return the attribute of the module that is written to, also under a name that is set once."""
    text = unparsed(held)
    if isinstance(held, ast.Name):
        named = [one for one in nodes_of(forward, ast.Name) if one.id == held.id and isinstance(one.ctx, ast.Store)]
        made = [one for one in nodes_of(forward, ast.Assign) if [unparsed(each) for each in one.targets] == [text]]
        text = unparsed(made[0].value) if len(named) == len(made) == 1 else ""
    return text if re.fullmatch(r"self\.\w+", text) else None


def _stored_elsewhere(forward: ast.FunctionDef, statement: ast.stmt, held: str, key: str) -> bool:
    """Say whether another statement of a function writes the entry, or may."""
    for one in walk(forward):
        if not isinstance(one, ast.stmt) or one is statement:
            continue
        if any(unparsed(of) == held and name == key for of, name, _ in _stored_entries(one)):
            return True
        anew = isinstance(one, ast.Assign) and isinstance(one.value, ast.Call)
        if anew and held in [unparsed(each) for each in one.targets]:  # type: ignore[attr-defined]
            return True
    return False


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def _hit(analysis: Analysis, node: ast.AST, what: str, value: str) -> Hit:
    return Hit(
        place=analysis.place(node),
        message=f"`{what}` is {value} from the first evaluation on, in training too",
        fix="Use a local variable.",
    )
