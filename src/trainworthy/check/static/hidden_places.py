"""Masks whose places are filled with minus infinity although the source says that these are to be seen."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, followed, integer, scope_of, subject
from trainworthy.check.static.tree import nodes_of, unparsed

_FILLS = ("masked_fill", "masked_fill_")
_KEEPS = frozenset(
    "bool float int long byte to type type_as cuda cpu unsqueeze view reshape expand expand_as repeat contiguous clone "
    "detach logical_not".split()
)
_HIDDEN = re.compile(r"(to_(remove|mask|hide|drop)|removed|illegal|invalid|forbidden|disallowed)(_mask|_positions)?$")
_SEEN = re.compile(r"(^|_)(valid|keep|kept|allowed|visible)(_mask|_positions|_tokens)?$|to_keep$")
_OTHER_WAY = re.compile(r"revers|backward|anti|flip|span", re.IGNORECASE)


def hidden_for_seen(analysis: Analysis) -> Iterator[tuple[ast.Call, str]]:
    """Yield fills with minus infinity at places that are to be seen, and what says so."""
    if not analysis.source.words & set(_FILLS):
        return
    fills = [node for node in analysis.nodes.get(ast.Call, ()) if called(node) in _FILLS]
    for node in fills:
        given = arguments_after_subject(node) if isinstance(node, ast.Call) else []
        if not isinstance(node, ast.Call) or len(given) != 2:
            continue
        if not is_minus_infinity(followed(given[1], scope_of(node, analysis.parents))):
            continue
        why = _why(analysis, node, given[0], fills)
        if why:
            yield node, why


def is_minus_infinity(node: ast.expr) -> bool:
    """Say whether a number is minus infinity, or the least of its type, or far below what scores are."""
    text = unparsed(node).lower()
    if re.fullmatch(r"float\(['\"]-inf(inity)?['\"]\)|-\s*(float\(['\"]inf(inity)?['\"]\)|\w+\.inf)|-1e\+?\d+", text):
        return True
    return re.fullmatch(r".*finfo\(.*\)\.min|-\s*.*finfo\(.*\)\.max|-\d{4,}(\.0*)?", text) is not None


def _why(analysis: Analysis, node: ast.Call, mask: ast.expr, fills: list[ast.AST]) -> str | None:
    inner, inverted = _unwrapped(mask)
    name = getattr(inner, "attr", getattr(inner, "id", "")) if isinstance(inner, ast.Attribute | ast.Name) else ""
    if (inverted and _HIDDEN.search(name)) or (not inverted and _SEEN.search(name)):
        return f"`{unparsed(mask)}` is what is to be seen, by its name"
    scope = scope_of(node, analysis.parents)
    if not _OTHER_WAY.search(f"{name} {getattr(scope, 'name', '')}"):
        side = _side_of(analysis, mask, scope)
        if side is not None and not side.above and side.diagonal:
            return "the places on and below the diagonal are the past, which each position is to see"
    return _contradicted(analysis, node, mask, fills, scope)


def _contradicted(
    analysis: Analysis, node: ast.Call, mask: ast.expr, fills: list[ast.AST], scope: ast.AST
) -> str | None:
    """Say whether 0 is filled in at the same places right after, or after a softmax at the others."""
    outer = analysis.parents.get(analysis.parents.get(node, node))
    if isinstance(outer, ast.Call) and called(outer) in _FILLS and subject(outer) is node:
        rest = arguments_after_subject(outer)
        if len(rest) == 2 and _is_zero(rest[1]) and unparsed(rest[0]) == unparsed(mask):
            return "the same places are filled with 0 right after"
    inner, inverted = _unwrapped(mask)
    for other in fills:
        rest = arguments_after_subject(other) if isinstance(other, ast.Call) else []
        if len(rest) != 2 or not _is_zero(rest[1]) or not isinstance(other, ast.Call) or other.lineno < node.lineno:
            continue
        again, other_way = _unwrapped(rest[0])
        same = unparsed(again) == unparsed(inner) and scope_of(other, analysis.parents) is scope
        if same and other_way != inverted and _follows_a_softmax(other, scope) and not _is_bound_between(
            inner, node.lineno, other.lineno, scope
        ):  # fmt: skip
            return "after the softmax, 0 is filled in at the other places"
    return None


def _follows_a_softmax(fill: ast.Call, scope: ast.AST) -> bool:
    on = subject(fill)
    made = followed(on, scope) if on is not None else None
    return made is not None and any(
        "softmax" in called(one).lower() or called(one) == "activation" for one in nodes_of(made, ast.Call)
    )


def _is_bound_between(mask: ast.expr, first: int, last: int, scope: ast.AST) -> bool:
    names = {one.id for one in nodes_of(mask, ast.Name)}
    stores = (one for one in nodes_of(scope, ast.Name) if isinstance(one.ctx, ast.Store))
    return any(one.id in names and first < one.lineno <= last for one in stores)


def _is_zero(node: ast.expr) -> bool:
    return unparsed(node) in ("0", "0.0", "float(0)", "float(0.0)")


def _unwrapped(node: ast.expr) -> tuple[ast.expr, bool]:
    """Return what an expression is another form of, and whether it is its inverse."""
    inverted = False
    while True:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
            node, inverted = node.operand, not inverted
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and integer(node.comparators[0]) in (0, 1):
            equal, one = isinstance(node.ops[0], ast.Eq), integer(node.comparators[0]) == 1
            if not isinstance(node.ops[0], ast.Eq | ast.NotEq):
                return node, inverted
            node, inverted = node.left, inverted != (equal != one)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _KEEPS:
            inverted = inverted != (node.func.attr == "logical_not")
            on = subject(node)
            if on is None:
                return node, inverted
            node = on
        elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple | ast.Slice):
            node = node.value
        else:
            return node, inverted


@dataclass(frozen=True, slots=True)
class _Side:
    """The places of a triangle: above the diagonal or below it, and whether with the diagonal."""

    above: bool
    diagonal: bool


def _side_of(analysis: Analysis, node: ast.expr, scope: ast.AST, depth: int = 6) -> _Side | None:
    inner, inverted = _unwrapped(node)
    found = _triangle(analysis, inner, scope, depth) if depth else None
    return _Side(not found.above, not found.diagonal) if found is not None and inverted else found


def _triangle(analysis: Analysis, node: ast.expr, scope: ast.AST, depth: int) -> _Side | None:
    if isinstance(node, ast.Name):
        made = followed(node, scope, 1)
        return _side_of(analysis, made, scope, depth - 1) if made is not node else None
    if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self":
        made_once = _kept(analysis, node)
        return _side_of(analysis, made_once, scope, depth - 1) if made_once is not None else None
    turned = isinstance(node, ast.Attribute) and node.attr in ("T", "mT")
    if turned or called(node) in ("transpose", "t"):
        on = node.value if isinstance(node, ast.Attribute) else subject(node)  # type: ignore[arg-type]
        found = _side_of(analysis, on, scope, depth - 1) if on is not None else None
        return replace(found, above=not found.above) if found is not None else None
    if called(node) not in ("triu", "tril", "triu_", "tril_") or not isinstance(node, ast.Call):
        return None
    filled = subject(node)
    if filled is None or called(filled) not in ("ones", "ones_like", "full", "fill_", "new_ones"):
        return None
    rest = arguments_after_subject(node)
    offset = next((one.value for one in node.keywords if one.arg == "diagonal"), rest[0] if rest else None)
    above, number = called(node).startswith("triu"), integer(offset)
    if number is not None or offset is None:
        number = number or 0
        return _Side(above, number <= 0 if above else number >= 0)
    return _Side(above, diagonal=False) if above and re.search(r"\+ 1$", unparsed(offset)) else None


def _kept(analysis: Analysis, attribute: ast.Attribute) -> ast.expr | None:
    """Return the only expression that an attribute or buffer of that name gets in a file."""
    found: list[ast.expr] = []
    for node in analysis.nodes.get(ast.Call, ()):
        given = node.args if isinstance(node, ast.Call) and called(node) == "register_buffer" else []
        if len(given) > 1 and getattr(given[0], "value", None) == attribute.attr:
            found.append(given[1])
    for one in analysis.nodes.get(ast.Assign, ()):
        if isinstance(one, ast.Assign) and any(getattr(each, "attr", "") == attribute.attr for each in one.targets):
            found.append(one.value)
    return found[0] if len(found) == 1 else None
