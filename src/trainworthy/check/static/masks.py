"""Which side of a mask an expression means."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from trainworthy.check.static.bindings import Bindings
from trainworthy.check.static.tree import unparsed

_KEEPS = frozenset(
    "bool float long int half double to type type_as byte unsqueeze squeeze expand expand_as view reshape flatten "
    "contiguous clone detach transpose permute cuda cpu broadcast_to".split()
)


@dataclass(frozen=True, slots=True)
class Side:
    """The places that a mask has, or those that it has not.

    Attributes:
        mask: The name of the mask, as it is written.
        of_mask: Whether they are those of the mask.
        bound: The line that bound the name last above that place; 0 if none did.
    """

    mask: str
    of_mask: bool
    bound: int = 0

    def is_of_same_mask(self, other: Side) -> bool:
        """Say whether both mean places of one mask."""
        return (self.mask, self.bound) == (other.mask, other.bound)

    @property
    def other(self) -> Side:
        """The other places."""
        return Side(self.mask, not self.of_mask, self.bound)


def side_of(names: Bindings, node: ast.expr, depth: int = 4) -> Side | None:
    """Return the mask that an expression is, or is the inverse of; None if it is anything else.

    What the name was given is looked up as long as it is the inverse or another form of a mask.
    """
    if isinstance(node, ast.Name) and depth:
        value = names.value_before(node)
        inner = side_of(names, value, depth - 1) if value is not None else None
        if inner is not None:
            return inner
    if isinstance(node, ast.Name | ast.Attribute):
        text = unparsed(node)
        above = [one.lineno for one in names.stores.get(text, ()) if one.lineno < node.lineno]
        return Side(text, True, max(above, default=0)) if "mask" in text.rpartition(".")[2].lower() else None
    form, inverted = _unwrapped(node)
    found = None if form is None else side_of(names, form, depth)
    return found.other if found is not None and inverted else found


def _unwrapped(node: ast.expr) -> tuple[ast.expr | None, bool]:
    """Return what an expression is another form of, and whether it is its inverse."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        return node.operand, True
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub):
        return (node.right, True) if isinstance(node.left, ast.Constant) and node.left.value == 1 else (None, False)
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        zero = is_zero(node.comparators[0])
        return (node.left, isinstance(node.ops[0], ast.Eq)) if zero else (None, False)
    if isinstance(node, ast.Subscript):
        whole = {type(one) for one in getattr(node.slice, "elts", [node.slice])} <= {ast.Constant, ast.Slice}
        free = not any(isinstance(one, ast.Constant) and isinstance(one.value, int) for one in ast.walk(node.slice))
        return (node.value, False) if whole and free else (None, False)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr == "logical_not":
            return (node.args[0] if node.args else node.func.value), True
        if node.func.attr in ("eq", "ne") and len(node.args) == 1 and is_zero(node.args[0]):
            return node.func.value, node.func.attr == "eq"
        return (node.func.value, False) if node.func.attr in _KEEPS else (None, False)
    return None, False


def is_zero(node: ast.expr) -> bool:
    """Say whether an expression is the number 0."""
    return isinstance(node, ast.Constant) and node.value == 0 and not isinstance(node.value, bool)
