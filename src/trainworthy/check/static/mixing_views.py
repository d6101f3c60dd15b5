"""Views that read two dimensions in the wrong order, as far as the source alone tells."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import (
    arguments_after_subject,
    called,
    integer,
    is_shape_of,
    keyword,
    last_given,
    scope_of,
    subject,
)
from trainworthy.check.static.axes import Axes, axes_of, written_axes
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import own, unparsed
from trainworthy.check.static.values import Instance

Body = ast.FunctionDef | ast.AsyncFunctionDef
_RECURRENT = ("torch.nn.LSTM.__call__", "torch.nn.GRU.__call__", "torch.nn.RNN.__call__")


def of_hidden_states(analysis: Analysis) -> Iterator[ast.Call]:
    """Yield views of the hidden states of recurrent layers with several directions or layers as rows of samples."""
    for call in once_per_place(analysis.calls(*_RECURRENT)):
        body = call.context.function.node if call.context.function is not None else None
        if not isinstance(body, Body) or call.context.source is not analysis.source or not _is_stacked(call):
            continue
        names = _hidden_names(body, call)
        for node in own(body):
            on = subject(node) if isinstance(node, ast.Call) and called(node) in ("view", "reshape") else None
            if isinstance(on, ast.Call) and called(on) == "contiguous":
                on = subject(on)
            if isinstance(on, ast.Name) and on.id in names and _is_last_given(body, on, call):
                sizes = _sizes(node)  # type: ignore[arg-type]
                if len(sizes) == 2 and (_is_minus_one(sizes[0]) or (_is_minus_one(sizes[1]) and _is_a_batch(sizes[0]))):
                    yield node  # type: ignore[misc]


def of_moved_dimensions(analysis: Analysis) -> Iterator[tuple[ast.Call, str, int]]:
    """Yield ``x.movedim(0, -1).view(-1, C)`` where ``C`` is the size of another dimension than the one moved last."""
    for node in analysis.nodes.get(ast.Call, ()):
        if not isinstance(node, ast.Call) or called(node) not in ("view", "reshape"):
            continue
        sizes = _sizes(node)
        if len(sizes) != 2 or not _is_minus_one(sizes[0]) or not isinstance(sizes[1], ast.Name):
            continue
        scope = scope_of(node, analysis.parents)
        moved = _moved(subject(node), scope)
        if moved is None:
            continue
        at, last = moved
        of = _dimension_of(sizes[1].id, at, scope, node.lineno)
        if of is not None and of != last:
            yield node, sizes[1].id, of


def of_exchanged_axes(analysis: Analysis) -> Iterator[tuple[ast.Call, Axes, Axes]]:
    """Yield views that ask for a size first, or last, that the tensor has elsewhere: what it had, and what is asked."""
    for node in analysis.nodes.get(ast.Call, ()):
        if not isinstance(node, ast.Call) or called(node) not in ("view", "reshape"):
            continue
        on, after = subject(node), written_axes(node)
        if on is None or after is None or len(after) < 2 or _is_meant(node, analysis):
            continue
        before = axes_of(analysis, on)
        if before is not None and _are_exchanged(before, after):
            yield node, before, after


# What shifts or shuffles by a view on purpose.
_MEANT = re.compile(r"shift|skew|shuffle|interleave|fold|im2col|scramble|toeplitz", re.IGNORECASE)


def _is_meant(node: ast.Call, analysis: Analysis) -> bool:
    scope = scope_of(node, analysis.parents)
    return _MEANT.search(getattr(scope, "name", "")) is not None


def _are_exchanged(before: Axes, after: Axes) -> bool:
    """Say whether the first or last size asked for, beside those that stay, is that of another axis."""
    while before and after and before[0] is not None and before[0] == after[0]:
        before, after = before[1:], after[1:]
    while before and after and before[-1] is not None and before[-1] == after[-1]:
        before, after = before[:-1], after[:-1]
    if len(before) < 2 or not after or not _are_told_apart(before):
        return False
    first = _is_a_name(after[0]) and _is_a_name(before[0]) and after[0] in before[1:]
    last = _is_a_name(after[-1]) and _is_a_name(before[-1]) and after[-1] in before[:-1]
    return first or last


def _are_told_apart(axes: Axes) -> bool:
    named = [one for one in axes if one is not None]
    return len(set(named)) == len(named)


def _is_a_name(size: str | None) -> bool:
    return size is not None and size != "-1" and not size.isdigit()


def _is_stacked(call: Call) -> bool:
    made = call.owner.made_by if isinstance(call.owner, Instance) else None
    if made is None or made.starred:
        return False
    layers = made.constant(2, "num_layers")
    return made.constant(None, "bidirectional") is True or (isinstance(layers, int) and layers > 1)


def _hidden_names(body: Body, call: Call) -> set[str]:
    """Return the names of ``h`` and ``c`` in ``out, (h, c) = lstm(x)``."""
    found: set[str] = set()
    for node in own(body):
        target = node.targets[0] if isinstance(node, ast.Assign) and node.value is call.node else None
        if isinstance(target, ast.Tuple) and len(target.elts) == 2:
            hidden = target.elts[1]
            parts = hidden.elts if isinstance(hidden, ast.Tuple) else [hidden]
            lstm = call.name == _RECURRENT[0]
            if lstm == isinstance(hidden, ast.Tuple):
                found |= {one.id for one in parts if isinstance(one, ast.Name)}
    return found


def _is_last_given(body: Body, name: ast.Name, call: Call) -> bool:
    """Say whether a name still has what a call gave it: nothing bound it since."""
    end = call.node.end_lineno or call.node.lineno
    return (
        not any(
            isinstance(one, ast.Name)
            and one.id == name.id
            and isinstance(one.ctx, ast.Store)
            and end < one.lineno < name.lineno
            for one in own(body)
        )
        and name.lineno >= call.node.lineno
    )


def _sizes(node: ast.Call) -> list[ast.expr]:
    given = arguments_after_subject(node)
    return list(given[0].elts) if len(given) == 1 and isinstance(given[0], ast.Tuple | ast.List) else list(given)


def _is_minus_one(node: ast.expr) -> bool:
    return integer(node) == -1


def _is_a_batch(node: ast.expr) -> bool:
    text = unparsed(node).lower()
    return "batch" in text or text in ("b", "bs", "bsz", "n") or text.endswith((".size(0)", ".shape[0]"))


def _moved(node: ast.expr | None, scope: ast.AST) -> tuple[ast.Name, int] | None:
    """Return the tensor, and its dimension that comes last, of ``movedim(a, -1)`` or a ``permute`` with all of them."""
    for _ in range(6):
        if isinstance(node, ast.Name):
            node = last_given(scope, node.id, node.lineno)
        elif isinstance(node, ast.Call) and called(node) in ("contiguous", "clone", "float", "detach"):
            node = subject(node)
        else:
            break
    if not isinstance(node, ast.Call):
        return None
    on, given = subject(node), arguments_after_subject(node)
    numbers = [integer(one) for one in (given[0].elts if given and isinstance(given[0], ast.Tuple) else given)]
    if not isinstance(on, ast.Name) or None in numbers:
        return None
    if called(node) in ("movedim", "moveaxis") and len(numbers) == 2 and numbers[1] == -1 and (numbers[0] or 0) >= 0:
        return on, numbers[0] or 0
    if called(node) == "permute" and len(numbers) >= 3 and (numbers[-1] or 0) >= 0 and keyword(node, "dims") is None:
        return on, numbers[-1] or 0
    return None


def _dimension_of(name: str, tensor: ast.Name, scope: ast.AST, line: int) -> int | None:
    """Return of which dimension of a tensor a name holds the size: ``C = x.size(1)``, ``B, C, H, W = x.shape``."""
    found: list[int | None] = []
    for node in own(scope) if isinstance(scope, ast.Module | Body) else ():
        if not isinstance(node, ast.Assign) or node.lineno >= line:
            continue
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Name) and target.id == name:
            found.append(_dimension_asked(value, tensor.id))
        elif isinstance(target, ast.Tuple) and any(isinstance(one, ast.Name) and one.id == name for one in target.elts):
            whole = is_shape_of(value, tensor.id)
            names = [getattr(one, "id", "") for one in target.elts]
            found.append(names.index(name) if whole and names.count(name) == 1 else None)
        elif isinstance(target, ast.Name) and target.id == tensor.id and found and node.lineno < tensor.lineno:
            found = [None]
    return found[0] if len(found) == 1 else None


def _dimension_asked(node: ast.expr, name: str) -> int | None:
    if isinstance(node, ast.Call) and called(node) == "size" and len(node.args) == 1:
        on, at = subject(node), node.args[0]
    elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
        on, at = node.value.value, node.slice
    else:
        return None
    number = integer(at)
    return number if isinstance(on, ast.Name) and on.id == name and number is not None and number >= 0 else None
