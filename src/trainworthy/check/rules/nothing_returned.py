"""The result of a function that returns nothing is used.

What it finds:
    `loader = self.get_loader(data)` where `get_loader` has no `return` with a value; and a function whose one branch
    returns a call's result while the other makes such a call and lets the result go.

Why:
    A forgotten `return`: the caller gets None, which fails later, or is taken for "no value given".

How sure:
    The function is found, is not decorated, yields nothing and is no stub that others override. Silent where the
    result is only printed, returned or compared with None, and below `with pytest.raises(...)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import functions_of, is_stub
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, called_function, is_expected_to_raise, once_per_place
from trainworthy.check.static.tree import own, unparsed, walk
from trainworthy.check.static.values import Function

BAD = """\
import torch
from torch.utils.data import DataLoader


def loader_of(data, batch_size):
    DataLoader(data, batch_size=batch_size, shuffle=True)


def evaluate(scores, targets, fast):
    if fast:
        return torch.nn.functional.mse_loss(scores, targets)
    else:
        torch.nn.functional.l1_loss(scores, targets)  # <- TW846


loader = loader_of(torch.rand(8, 2), 4)  # <- TW846
for batch in loader:
    print(batch)
"""

GOOD = """\
import torch
from torch.utils.data import DataLoader


def loader_of(data, batch_size):
    return DataLoader(data, batch_size=batch_size, shuffle=True)


def evaluate(scores, targets, fast):
    if fast:
        return torch.nn.functional.mse_loss(scores, targets)
    else:
        return torch.nn.functional.l1_loss(scores, targets)


loader = loader_of(torch.rand(8, 2), 4)
for batch in loader:
    print(batch)
"""


@rule(code="TW846", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls whose value is used, and at branches that differ."""
    if "torch" not in analysis.source.code:
        return
    yield from _results_used(analysis)
    yield from _branches_that_differ(analysis)


def _results_used(analysis: Analysis) -> Iterator[Hit]:
    for call in once_per_place(iter(analysis.all_calls)):
        function = called_function(call)
        if function is None or call.context.source is not analysis.source or not _returns_nothing(function):
            continue
        if _is_used(call, analysis.parents) and not is_expected_to_raise(call.node, analysis.parents):
            where = function.source.place(function.node)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{function.name}` returns nothing, and its result is used",
                evidence=(Evidence("the function", where._replace(end_line=where.line, end_column=None)),),
                fix="Return the value there.",
            )


def _returns_nothing(function: Function) -> bool:
    node = function.node
    return isinstance(node, ast.FunctionDef) and _has_no_value(node)


@lru_cache(maxsize=4096)
def _has_no_value(node: ast.FunctionDef) -> bool:
    if node.decorator_list or is_stub(node):
        return False
    if node.name.startswith("__") or any(isinstance(one, ast.Raise) for one in node.body):
        return False
    for one in own(node):
        if isinstance(one, ast.Yield | ast.YieldFrom) or (isinstance(one, ast.Return) and one.value is not None):
            return False
    return True


def _is_used(call: Call, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a call's value goes somewhere that None is not meant to go."""
    parent = parents.get(call.node)
    if isinstance(parent, ast.Assign):
        target = parent.targets[0]
        if isinstance(target, ast.Tuple | ast.List):
            return True
        name = getattr(target, "id", getattr(target, "attr", ""))
        return not name.startswith("_") and _is_read_as_a_value(body_of(call.context), name, call.node, parents)
    if isinstance(parent, ast.Call) and call.node in parent.args:
        name = getattr(parent.func, "id", getattr(parent.func, "attr", ""))
        return name not in ("print", "append", "info", "run", "isinstance", "bool", "debug", "exit", "SystemExit")
    if isinstance(parent, ast.For | ast.comprehension):
        return parent.iter is call.node
    return isinstance(parent, ast.Attribute | ast.Subscript | ast.BinOp | ast.Starred)


def _is_read_as_a_value(body: ast.AST, name: str, made: ast.Call, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a name is read after it was made, and never compared or asked for."""
    reads = [
        one
        for one in walk(body)
        if getattr(one, "id", getattr(one, "attr", "")) == name
        and isinstance(getattr(one, "ctx", None), ast.Load)
        and not isinstance(parents.get(one), ast.Expr | ast.Return)
    ]
    end = made.end_lineno or made.lineno
    again = any(isinstance(one, ast.For | ast.While) and one.lineno <= made.lineno <= (one.end_lineno or 0)
                for one in walk(body))  # fmt: skip
    reads = [one for one in reads if again or getattr(one, "lineno", 0) > end or isinstance(one, ast.Attribute)]
    asked = any(isinstance(parents.get(one), ast.Compare | ast.If | ast.BoolOp | ast.IfExp) for one in reads)
    return bool(reads) and not asked


def _branches_that_differ(analysis: Analysis) -> Iterator[Hit]:
    """Yield calls that end a function's last branch unreturned, when the other branch returns such a call."""
    ends = ((node, last) for node in functions_of(analysis.nodes) for last in _last_branches(node.body))
    for function, last in ends:
        for kept, lost in ((last.body, last.orelse), (last.orelse, last.body)):
            returned, dropped = kept[-1], lost[-1]
            if (
                len(lost) == 1
                and isinstance(dropped, ast.Expr)
                and isinstance(dropped.value, ast.Call)
                and isinstance(returned, ast.Return)
                and isinstance(returned.value, ast.Call)
                and _alike(returned.value, dropped.value)
            ):
                yield Hit(
                    place=analysis.source.place(dropped),
                    message=f"`{function.name}` returns a result in one branch; here it is thrown away",
                    evidence=(Evidence("the other branch", analysis.source.place(returned)),),
                    fix="Return it here, too.",
                )


def _last_branches(body: list[ast.stmt]) -> Iterator[ast.If]:
    """Yield the `if`s with an `else` that a function may end with, those that end their branches included."""
    last = body[-1]
    if isinstance(last, ast.If) and last.orelse:
        yield last
        yield from _last_branches(last.body)
        yield from _last_branches(last.orelse)


def _alike(a: ast.Call, b: ast.Call) -> bool:
    """Say whether two calls get the same arguments."""
    return bool(a.args) and [unparsed(one) for one in a.args] == [unparsed(one) for one in b.args]
