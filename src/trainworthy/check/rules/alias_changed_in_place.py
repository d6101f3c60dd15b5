"""The old value is kept under a name that is changed with it.

What it finds:
    `old_mean = self.mean`, then `self.mean.mul_(...)`, then a use of `old_mean`; and `last = x[:, -1:]`, then
    `x -= last` or `x[...] = x[...] - last`, then a use of `last`; and `update = average = state["average"]`, of which
    both are changed and the first is used.

Why:
    An assignment and a slice make no copy: what is used afterwards is the new value. With the window of a series, 0 is
    added back.

How sure:
    The change is in place (a method with an underscore at the end of its name, or a subscript), both stand in one
    function, and the name says that the old value is meant, or is itself what is subtracted.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_of
from trainworthy.check.static.tree import own, unparsed, walk

BAD = """\
import torch


class Running(torch.nn.Module):
    def update(self, batch):
        old_mean = self.mean
        self.mean.mul_(0.9).add_(0.1 * batch.mean(0))
        self.weight.mul_(old_mean / self.mean)  # <- TW512


def normalised(x, layer):
    last = x[:, -1:].detach()
    x[:, :] = x[:, :] - last
    return layer(x) + last  # <- TW512
"""

GOOD = """\
import torch


class Running(torch.nn.Module):
    def update(self, batch):
        old_mean = self.mean.clone()
        self.mean.mul_(0.9).add_(0.1 * batch.mean(0))
        self.weight.mul_(old_mean / self.mean)


def normalised(x, layer):
    last = x[:, -1:].detach().clone()
    x[:, :] = x[:, :] - last
    return layer(x) + last
"""

_OLD = re.compile(r"^_?(old|prev|previous|orig|original|before|former)(_|$)|_(old|prev|previous|orig|before)$")
_SAME = frozenset({"detach", "view", "unsqueeze", "squeeze", "expand", "data"})
_METHOD = re.compile(r"^[a-z]\w*[a-z0-9]_$")


@rule(code="TW512", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at names that are given what another name or attribute holds."""
    if not analysis.source.words & {"torch", "numpy"}:
        return
    for function in functions_of(analysis.nodes):
        names = bindings_of(function)
        yield from _twins(analysis, names)
        for name, base, sliced, made in _kept(names):
            found = _used_after_change(names, name, base, sliced, made)
            if found is not None:
                changed, use = found
                yield Hit(
                    place=analysis.place(use),
                    message=f"`{name}` is no copy: it was changed with `{base}`",
                    evidence=(
                        Evidence("it is kept here", analysis.place(made)),
                        Evidence("it is changed here", analysis.place(changed)),
                    ),
                    fix="Keep a `clone()`.",
                )


def _twins(analysis: Analysis, names: Bindings) -> Iterator[Hit]:
    """Yield uses of a name of two, `a = b = state["x"]`, after first it and then the other was changed."""
    for made in own(names.function):
        if not isinstance(made, ast.Assign) or not isinstance(made.value, ast.Subscript | ast.Attribute):
            continue
        twins = [one.id for one in made.targets if isinstance(one, ast.Name)]
        if len(twins) != 2 or any(len(names.stores.get(one, ())) != 1 for one in twins):
            continue
        changes = [(one, name) for one in own(names.function) if isinstance(one, ast.stmt) and one is not made
                   for name in twins if _changes(one, name, True)]  # fmt: skip
        for (first, name), (second, other) in pairwise(changes):
            later = [one for one in names.reads.get(name, ()) if one.lineno > (second.end_lineno or second.lineno)]
            if name != other and later:
                yield Hit(
                    place=analysis.place(later[0]),
                    message=f"`{name}` and `{other}` are one tensor: it was changed with both names",
                    evidence=(
                        Evidence("they are made here", analysis.place(made)),
                        Evidence(f"changed as `{name}`", analysis.place(first)),
                        Evidence(f"changed as `{other}`", analysis.place(second)),
                    ),
                    fix=f"`{name} = {other}.clone()`.",
                )
                break


def _kept(names: Bindings) -> Iterator[tuple[str, str, bool, ast.Assign]]:
    """Yield names that are given another value as it is, or a slice of it, with that value and whether it is one."""
    for made, name, value in names.given:
        base = _base(value) if isinstance(value, ast.Attribute | ast.Subscript | ast.Call) else None
        if base is not None and base[0] != name and (base[1] or _OLD.search(name)):
            yield name, *base, made


def _base(value: ast.expr) -> tuple[str, bool] | None:
    """Return what a value is an alias, or by a slice a view of; None if it may be a copy."""
    sliced = False
    while True:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _SAME:
            value = value.func.value
        elif isinstance(value, ast.Subscript) and _is_basic(value.slice):
            value, sliced = value.value, True
        else:
            break
    if isinstance(value, ast.Attribute) or (isinstance(value, ast.Name) and sliced):
        return unparsed(value), sliced
    return None


def _is_basic(index: ast.expr) -> bool:
    """Say whether an index takes a view, with a slice among its parts."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return any(isinstance(one, ast.Slice) for one in parts) and all(
        isinstance(one, ast.Slice | ast.Constant | ast.UnaryOp) for one in parts
    )


def _used_after_change(
    names: Bindings, name: str, base: str, sliced: bool, made: ast.Assign
) -> tuple[ast.AST, ast.Name] | None:
    """Return where a base is changed, and where its alias is used afterwards."""
    again = min((one.lineno for one in names.stores.get(name, ()) if one.lineno > made.lineno), default=None)
    says_old = bool(_OLD.search(name))
    for one in own(names.function):
        if getattr(one, "lineno", 0) <= (made.end_lineno or 0) or not isinstance(one, ast.stmt):
            continue
        if _rebinds(one, base):
            return None
        mentions = any(isinstance(n, ast.Name) and n.id == name for n in walk(one))
        if (says_old or mentions) and _changes(one, base, mentions and sliced):
            later = [read for read in names.reads.get(name, ()) if read.lineno > (one.end_lineno or one.lineno)
                     and (again is None or read.lineno < again)]  # fmt: skip
            return (one, later[0]) if later else None
    return None


def _rebinds(statement: ast.stmt, base: str) -> bool:
    return isinstance(statement, ast.Assign) and any(unparsed(target) == base for target in statement.targets)


def _changes(statement: ast.stmt, base: str, own: bool) -> bool:
    """Say whether a statement changes a tensor in place as a whole or in part."""
    if isinstance(statement, ast.Assign):
        return own and any(
            isinstance(target, ast.Subscript) and unparsed(target.value) == base for target in statement.targets
        )
    if isinstance(statement, ast.AugAssign):
        target = statement.target
        inner = target.value if isinstance(target, ast.Subscript) else target
        return own and unparsed(inner) == base
    call = statement.value if isinstance(statement, ast.Expr) else None
    while isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        if _METHOD.match(call.func.attr) and unparsed(call.func.value) in (base, f"{base}.data"):
            return call.func.attr not in ("requires_grad_", "retain_grad_", "share_memory_")
        call = call.func.value
    return False
