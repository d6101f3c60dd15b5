"""Parameters go to the optimizer through a set, so their order differs from run to run.

What it finds:
    `set(model.parameters()) - set(...)`, or a set of names, as the parameters of an optimizer or of one of its groups,
    without `sorted`.

Why:
    A saved optimizer knows its parameters by their number. The order of a set follows addresses, or hashes that Python
    draws anew in each run: after a resume, moments belong to other parameters. Where the shapes are equal nothing
    fails. Sharded optimizers also need the same order on all ranks.

How sure:
    Certain that the order is not kept. It does harm where the optimizer's state is loaded, or sharded: silent in a
    project that does neither.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, Def, bindings_of, functions_of
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


def make_optimizer(model, saved=None):
    plain = set(p for p in model.parameters() if p.ndim < 2)
    others = set(model.parameters()) - plain
    groups = [
        {"params": list(others)},  # <- TW662
        {"params": list(plain), "weight_decay": 0.0},  # <- TW662
    ]
    optimizer = torch.optim.AdamW(groups)
    if saved is not None:
        optimizer.load_state_dict(saved)
    return optimizer
"""

GOOD = """\
import torch


def make_optimizer(model, saved=None):
    plain = [p for p in model.parameters() if p.ndim < 2]
    others = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": others}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups)
    if saved is not None:
        optimizer.load_state_dict(saved)
    return optimizer
"""

_OPTIMIZERS = ("Adam", "SGD", "RMSprop", "Adagrad", "Lion", "LAMB", "Adafactor", "RAdam", "NAdam")


@rule(code="TW662", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at groups of parameters, and at the first argument of optimizers."""
    words = analysis.source.words
    if (
        "torch" not in words
        or not ("set" in words or analysis.nodes.get(ast.SetComp))
        or "param" not in analysis.source.code
    ):
        return
    found = [
        (at, value, why) for function in functions_of(analysis.nodes) for at, value, why in _sets(analysis, function)
    ]
    if not found or not _order_matters(analysis):
        return
    for at, value, why in {id(one[0]): one for one in found}.values():
        yield Hit(
            place=analysis.place(at),
            message=f"`{unparsed(value)}` has another order in every run: the optimizer's saved state goes to other "
            "parameters",
            evidence=(Evidence("it is a set", analysis.place(why)),),
            fix="Keep parameters in a list, or sort the names.",
        )


def _sets(analysis: Analysis, function: Def) -> Iterator[tuple[ast.expr, ast.expr, ast.AST]]:
    """Yield parameters of groups and optimizers that come out of a set."""
    names = bindings_of(function)
    for node in walk(function):
        given: list[ast.expr] = []
        if isinstance(node, ast.Dict):
            given = [value for key, value in zip(node.keys, node.values, strict=True)
                     if isinstance(key, ast.Constant) and key.value == "params"]  # fmt: skip
        elif isinstance(node, ast.Call) and node.args:
            called = unparsed(node.func).rpartition(".")[2]
            given = node.args[:1] if called.startswith(_OPTIMIZERS) else []
        for value in given:
            inner = _unordered(value)
            why = _is_set(analysis, names, inner) if inner is not None else None
            if inner is not None and why is not None:
                yield value, inner, why


def _unordered(value: ast.expr) -> ast.expr | None:
    """Return what parameters are taken from in its own order."""
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("list", "tuple", "iter") and value.args:
        return _unordered(value.args[0])
    if isinstance(value, ast.ListComp | ast.GeneratorExp):
        return _unordered(value.generators[0].iter)
    return value


def _is_set(analysis: Analysis, names: Bindings, node: ast.expr, depth: int = 4) -> ast.AST | None:
    """Return what makes an expression a set; None if it is not surely one."""
    if isinstance(node, ast.SetComp | ast.Set):
        return node
    if isinstance(node, ast.Call):
        return node if getattr(node.func, "id", "") in ("set", "frozenset") else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.BitOr | ast.BitAnd):
        left = _is_set(analysis, names, node.left, depth - 1) if depth else None
        return left or (_is_set(analysis, names, node.right, depth - 1) if depth else None)
    if not isinstance(node, ast.Name) or not depth:
        return None
    value = names.value_before(node)
    if value is not None:
        return _is_set(analysis, names, value, depth - 1)
    return _unpacked(analysis, names, node, depth)


def _unpacked(analysis: Analysis, names: Bindings, name: ast.Name, depth: int) -> ast.AST | None:
    """Return the set that a function of this file returns under that place of a tuple."""
    for one in walk(names.function):
        target = one.targets[0] if isinstance(one, ast.Assign) and one.lineno < name.lineno else None
        if not isinstance(target, ast.Tuple) or not isinstance(one, ast.Assign) or not isinstance(one.value, ast.Call):
            continue
        at = [getattr(part, "id", "") for part in target.elts]
        if name.id not in at:
            continue
        for function in functions_of(analysis.nodes):
            if function.name == unparsed(one.value.func).rpartition(".")[2]:
                inner = bindings_of(function)
                for end in walk(function):
                    value = end.value if isinstance(end, ast.Return) else None
                    if isinstance(value, ast.Tuple) and len(value.elts) == len(at):
                        return _is_set(analysis, inner, value.elts[at.index(name.id)], depth - 1)
    return None


def _order_matters(analysis: Analysis) -> bool:
    """Say whether any program of the project loads or shards an optimizer's state."""
    texts = [analysis.source.text, *map(text_of, project_files(analysis.source.path) or ())]
    return any("load_state_dict" in text or "ZeroRedundancy" in text or "resume" in text for text in texts)
