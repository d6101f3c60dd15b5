"""Rows of a tensor that are repeated, and in which order their results are shaped back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, followed, scope_of, subject
from trainworthy.check.static.tree import nodes_of, unparsed

_SHAPES_BACK = frozenset({"view", "reshape", "unflatten"})
_KEEPS = frozenset("squeeze contiguous detach float mean sum exp log min max clamp logsumexp unsqueeze to".split())
_MIXES = frozenset(
    "transpose permute t T mT view reshape unflatten flatten chunk split swapaxes swapdims movedim rearrange repeat "
    "sort repeat_interleave tile expand cat stack flip roll gather index_select".split()
)


class Rows(NamedTuple):
    """A name whose rows are repeated, in which order, and how many times."""

    name: str
    order: str
    times: str


def rows_repeated(node: ast.expr) -> Rows | None:
    """Return what is known of ``torch.repeat_interleave(x, n, dim=0)``, ``x.repeat(n, 1)`` and the like."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
        return None
    of, counts = subject(node), arguments_after_subject(node)
    of_torch = of is not node.func.value
    counts = list(counts[0].elts) if counts and isinstance(counts[0], ast.Tuple | ast.List) else counts
    if not counts or not isinstance(of, ast.Name):
        return None
    if node.func.attr in ("repeat", "tile") and not (of_torch and node.func.attr == "repeat"):
        rest = all(isinstance(one, ast.Constant) and one.value == 1 for one in counts[1:])
        return Rows(of.id, "a b a b", unparsed(counts[0])) if rest and len(counts) > 1 else None
    axis = [one.value for one in node.keywords if one.arg in ("dim", "axis")] or counts[1:2]
    first = bool(axis) and isinstance(axis[0], ast.Constant) and axis[0].value == 0
    return Rows(of.id, "a a b b", unparsed(counts[0])) if first and node.func.attr != "tile" else None


def counts_of(name: str, scope: ast.AST) -> set[str]:
    """Return how the number of rows of a tensor is written: its length, and names that are given that."""
    found = {f"len({name})", f"{name}.size(0)", f"{name}.shape[0]"}
    given = [(target, one.value) for one in nodes_of(scope, ast.Assign) for target in one.targets]
    parts = [
        pair
        for target, value in given
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        for pair in zip(target.elts, value.elts, strict=False)
    ]
    return found | {unparsed(target) for target, value in (*given, *parts) if unparsed(value) in found}


def shaped_in_other_order(analysis: Analysis) -> Iterator[tuple[ast.Call, ast.expr, str]]:
    """Yield where results of repeated rows are shaped back in the other order, what repeated them, and their name."""
    if not {"repeat", "repeat_interleave", "tile"} & analysis.source.words:
        return
    for node in nodes_of(analysis.source.tree, ast.Call):
        shape = _shape(node) if called(node) in _SHAPES_BACK else ()
        of = subject(node)
        if len(shape) < 2 or of is None:
            continue
        scope = scope_of(node, analysis.parents)
        for made, rows in _repeated_below(of, scope):
            counts = counts_of(rows.name, scope)
            interleaved = shape[0] in counts and shape[1] == rows.times
            tiled = shape[0] == rows.times and shape[1] in counts
            if rows.times not in counts and (interleaved if rows.order == "a b a b" else tiled):
                yield node, made, rows.name
                break


def _shape(node: ast.Call) -> list[str]:
    """Write the sizes that a tensor is given; those of `unflatten(0, ...)` too."""
    given = arguments_after_subject(node)
    if called(node) == "unflatten":
        given = given[1:] if given and unparsed(given[0]) == "0" else []
    given = list(given[0].elts) if len(given) == 1 and isinstance(given[0], ast.Tuple | ast.List) else given
    return [unparsed(one) for one in given]


def _repeated_below(node: ast.expr, scope: ast.AST, depth: int = 6) -> Iterator[tuple[ast.expr, Rows]]:
    """Yield the repeated rows that an expression computes its own rows from, one from one, in the same order."""
    node = followed(node, scope)
    rows = rows_repeated(node)
    if rows is not None:
        yield node, rows
        return
    if not depth:
        return
    parts: list[ast.expr] = []
    if isinstance(node, ast.BinOp):
        parts = [node.left, node.right]
    elif isinstance(node, ast.Call) and called(node) in _KEEPS:
        first = subject(node)
        parts = [first] if first is not None and not _is_over_rows(node) else []
    elif isinstance(node, ast.Call) and called(node) not in _MIXES:
        parts = [*node.args, *(one.value for one in node.keywords)]
    for one in parts:
        yield from _repeated_below(one, scope, depth - 1)


def _is_over_rows(node: ast.Call) -> bool:
    given = [unparsed(one) for one in (*arguments_after_subject(node), *(one.value for one in node.keywords))]
    return called(node) in ("mean", "sum", "min", "max", "logsumexp", "unsqueeze") and (not given or "0" in given)
