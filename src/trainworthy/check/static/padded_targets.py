"""Cross-entropies whose targets were padded in the same function, and that ignore none."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, integer, subject
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import CROSS_ENTROPY, NLL, body_of, is_a_test, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed
from trainworthy.check.static.values import Instance

_VALUES = ("padding_value", "pad_value", "pad_token_id")
_FORMS = frozenset({"view", "reshape", "flatten", "contiguous", "long", "to", "transpose", "permute", "rearrange"})


def padded_targets(analysis: Analysis) -> Iterator[tuple[Call, ast.Call]]:
    """Yield losses over all positions, with the call that pads what they take as targets."""
    if is_a_test(analysis.source) or not analysis.source.words & set(_VALUES):
        return
    for loss in once_per_place(analysis.calls(*CROSS_ENTROPY, *NLL)):
        made = loss.owner.made_by if isinstance(loss.owner, Instance) else None
        options = made if loss.name.endswith("__call__") else loss
        target = loss.argument_node(1, "target")
        if options is None or target is None or loss.context.source is not analysis.source:
            continue
        if options.has(None, "ignore_index") or options.has(None, "reduction") or options.has(None, "weight"):
            continue
        padding = _padding(_plain(target), body_of(loss.context), target.lineno)
        if padding is not None:
            yield loss, padding


def _plain(node: ast.expr) -> str:
    """Return the variable that an expression is all of, but for its ends: not what an index or a mask picks."""
    while not isinstance(node, ast.Name):
        inner: ast.expr | None = None
        if isinstance(node, ast.Call) and called(node) in _FORMS:
            inner = subject(node)
        elif isinstance(node, ast.Subscript):
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            inner = node.value if all(isinstance(one, ast.Slice) for one in parts) else None
        if inner is None:
            return ""
        node = inner
    return node.id


def _padding(name: str, body: ast.AST, line: int) -> ast.Call | None:
    """Return the call that pads a variable above a line with what is a class, if nothing is picked out of it later."""
    found: ast.Call | None = None
    given = [one for one in nodes_of(body, ast.Assign) if one.lineno < line and name in _bound(one)]
    for one in sorted(given, key=lambda each: each.lineno):
        value = one.value
        if isinstance(value, ast.Call) and any(map(_is_a_class, value.keywords)):
            found = value
        elif _plain(value) != name:
            found = None  # something else, or with what to ignore filled in
    return found


def _bound(node: ast.Assign) -> list[str]:
    return [target.id for target in node.targets if isinstance(target, ast.Name)]


def _is_a_class(option: ast.keyword) -> bool:
    """Say whether an option pads with what a loss takes for a class: not the number that it ignores anyway."""
    return option.arg in _VALUES and integer(option.value) != -100 and "ignore" not in unparsed(option.value).lower()
