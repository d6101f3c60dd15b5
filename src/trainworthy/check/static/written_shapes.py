"""Shapes of variables as docstrings and comments state them: ``target: [batch_size]``, ``# (B, 1)``."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.bindings import Def, bindings_of
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.values import Instance, Tensor, Value

_SIZES = r"[\[(]\s*([\w*/+ -]+(?:\s*(?:,|[x\u00d7]\s)\s*[\w*/+ -]+)*)\s*,?\s*[\])]"
_SHAPE = re.compile(rf"(?:(?<=^)|(?<=[\s:=]))(?:torch\.Size|shape|of size)?\s*{_SIZES}", re.IGNORECASE)
_BATCH = re.compile(r"(?:batch(?:[_ ]?size)?|bs|bsz|b|n|num_?samples|n_?samples|nb)$", re.IGNORECASE)


def meet_as_a_table(call: Call, prediction: ast.expr | None, target: ast.expr | None) -> bool:
    """Say whether a loss gets a column, made by a linear layer or written so, and a row of one number per sample."""
    sides = ((call.argument(0, "input"), prediction), (call.argument(1, "target"), target))
    for (one, node), (other, partner) in (sides, sides[::-1]):
        if _is_column(one, node, call.context) and _is_row(other, partner, call.context):
            return True
    return False


def _is_column(value: Value | None, node: ast.expr | None, context: Context) -> bool:
    made = value.made_by if isinstance(value, Tensor) and value.activation is None else None
    if made is not None and made.name == "torch.nn.Linear.__call__" and isinstance(made.owner, Instance):
        layer = made.owner.made_by
        return layer is not None and layer.constant(1, "out_features") == 1
    sizes = written(node, context)
    return sizes is not None and len(sizes) == 2 and sizes[1] == "1" and _BATCH.match(sizes[0]) is not None


def _is_row(value: Value | None, node: ast.expr | None, context: Context) -> bool:
    if isinstance(value, Tensor) and value.shape is not None:
        return len(value.shape) == 1 and value.shape[0] != 1
    sizes = written(node, context)
    return sizes is not None and len(sizes) == 1 and _BATCH.match(sizes[0]) is not None


def written(node: ast.expr | None, context: Context) -> tuple[str, ...] | None:
    """Return the sizes that a docstring states of a parameter, or a comment of what a name was last given."""
    function = context.function.node if context.function is not None else None
    if not isinstance(node, ast.Name) or not isinstance(function, Def):
        return None
    above = [one for one in bindings_of(function).stores.get(node.id, ()) if one.lineno <= node.lineno]
    if not above:
        known = node.id in bindings_of(function).parameters
        return _of_parameter(ast.get_docstring(function) or "", node.id) if known else None
    if bindings_of(function).value_before(node) is None:
        return None
    line = context.source.lines[above[-1].lineno - 1]
    match = re.search(rf"[^#'\"]#\s*{_SIZES}\s*$", line)
    return _split(match[1]) if match else None


def _of_parameter(docstring: str, name: str) -> tuple[str, ...] | None:
    line = re.search(
        rf"^[\s:*`-]*(?:param\s+)?(?:\w+\s+)?`?{name}`?\s*(?:\([^)\n]*\))?\s*:(.*)$", docstring, re.MULTILINE
    )
    found = _SHAPE.findall(line[1]) if line else []
    return _split(found[0]) if len(found) == 1 else None


def _split(sizes: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in re.split(r",|\s[x\u00d7]\s", sizes) if one.strip())
