"""Softmaxes over the first axis whose numbers are used as if they added up to 1 over another."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, integer, keyword, scope_of, subject
from trainworthy.check.static.axes import axes_of, equation_of
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import names_in
from trainworthy.check.static.tree import nodes_of, unparsed, walk

_KEEPS = frozenset("dropout to type type_as float half masked_fill clone contiguous detach log clamp squeeze".split())
_DROPS = re.compile(r"(^|_)(attn_?|attention_?|att_?)?drop(out)?(_|\d|$)")
_SHARES = re.compile(r"sinkhorn|assign|proto|contrast|simil|mining|pool|cluster", re.IGNORECASE)
_LIKELIHOODS = frozenset({"nll_loss", "NLLLoss", "CTCLoss", "ctc_loss"})
_CHOICES = frozenset({"argmax", "max", "topk", "sort"})
_BATCHED = 3  # the rank of a tensor of scores with samples, or heads, first


def used_over_another_axis(analysis: Analysis, call: Call, tensor: ast.expr) -> str | None:
    """Say what shows that the numbers of a softmax over axis 0 should add up over another; None if nothing does."""
    scope = scope_of(call.node, analysis.parents)
    if any(_SHARES.search(one) for one in names_in(tensor) | {getattr(scope, "name", "")}):
        return None
    if _is_of_one_step(tensor, analysis):
        return "axis 0 of what was taken at one step is that of the samples"
    uses = list(_uses(analysis, call.node, scope))
    for use, parent in uses:
        found = _is_summed_elsewhere(analysis, tensor, use, parent) or _is_chosen_elsewhere(use, parent, analysis)
        if found:
            return found
    returned = any(isinstance(parent, ast.Return) for _, parent in uses)
    if returned and getattr(scope, "name", "") == "forward" and _is_of_classes(analysis, call, scope):
        return "axis 0 of what a network returns is that of the samples"
    return None


def _uses(analysis: Analysis, node: ast.expr, scope: ast.AST, depth: int = 4) -> Iterator[tuple[ast.expr, ast.AST]]:
    """Yield where a value is used, itself, in another type, with dropout, or under a name, and what is around it."""
    at, parent = node, analysis.parents.get(node)
    while parent is not None:
        outer = analysis.parents.get(parent)
        if isinstance(parent, ast.Attribute) and isinstance(outer, ast.Call) and parent.attr in _KEEPS:
            at, parent = outer, analysis.parents.get(outer)
        elif isinstance(parent, ast.Call) and parent.args[:1] == [at] and _drops(parent):
            at, parent = parent, outer
        else:
            break
    if isinstance(parent, ast.Assign) and parent.value is at and isinstance(parent.targets[0], ast.Name) and depth:
        name, line = parent.targets[0].id, parent.end_lineno or parent.lineno
        later = [one for one in nodes_of(scope, ast.Name) if one.id == name and one.lineno > line]
        later.sort(key=lambda one: (one.lineno, one.col_offset))
        end = next((one.lineno for one in later if isinstance(one.ctx, ast.Store)), None)
        for one in later:
            if isinstance(one.ctx, ast.Load) and (end is None or one.lineno <= end):
                yield from _uses(analysis, one, scope, depth - 1)
    elif parent is not None:
        yield at, parent


def _drops(call: ast.Call) -> bool:
    return called(call) in ("dropout", "Dropout") or _DROPS.search(called(call)) is not None


def _is_summed_elsewhere(analysis: Analysis, tensor: ast.expr, use: ast.expr, parent: ast.AST) -> str | None:
    """Say whether a weighted sum goes over the last axis of the weights, or over one that an equation names."""
    sums = isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.MatMult) and parent.left is use
    if isinstance(parent, ast.Call) and called(parent) in ("matmul", "bmm"):
        sums = subject(parent) is use
        if sums and called(parent) == "bmm":
            return _SUMMED
    if sums:
        return _SUMMED if _rank(analysis, tensor) >= _BATCHED else None
    equation = equation_of(parent) if isinstance(parent, ast.Call) and called(parent) == "einsum" else None
    given = parent.args if isinstance(parent, ast.Call) else []
    operands = [one for one in given if not isinstance(one, ast.Constant | ast.JoinedStr)]
    if isinstance(parent, ast.List | ast.Tuple):
        outer = analysis.parents.get(parent)
        equation = equation_of(outer) if isinstance(outer, ast.Call) and called(outer) == "einsum" else None
        operands = list(parent.elts)
    if equation is None or use not in operands or len(operands) != len(equation[0]):
        return None
    axes, kept = equation[0][operands.index(use)], set(equation[1])
    return _SUMMED if axes and axes[0] in kept and set(axes) - kept and len(axes) > 2 else None


_SUMMED = "its weights are summed over another axis"


def _is_chosen_elsewhere(use: ast.expr, parent: ast.AST, analysis: Analysis) -> str | None:
    """Say whether the largest is taken along axis 1, or along the last of several."""
    several = False
    if isinstance(parent, ast.Subscript) and parent.value is use:
        parts = parent.slice.elts if isinstance(parent.slice, ast.Tuple) else []
        several = len(parts) > 1 and (
            getattr(parts[0], "value", None) is ... or all(isinstance(one, ast.Slice) for one in parts)
        )
        use, parent = parent, analysis.parents[parent]
    outer = analysis.parents.get(parent) if isinstance(parent, ast.Attribute) else parent
    if not isinstance(outer, ast.Call) or called(outer) not in _CHOICES or subject(outer) is not use:
        return None
    rest = arguments_after_subject(outer)
    position = rest[1:] if called(outer) == "topk" else rest
    axis = integer(keyword(outer, "dim", "axis") or (position[0] if position else None))
    return "the largest is taken along another axis" if axis == 1 or (axis == -1 and several) else None


def _is_of_one_step(tensor: ast.expr, analysis: Analysis) -> bool:
    """Say whether a tensor is that of one step of each sample: ``logits[:, -1, :]``, by itself or under a name."""
    for _ in range(4):
        if isinstance(tensor, ast.BinOp) and isinstance(tensor.op, ast.Div | ast.Mult):
            tensor = tensor.left
        elif isinstance(tensor, ast.Name):
            scope = scope_of(tensor, analysis.parents)
            given = [
                one.value
                for one in nodes_of(scope, ast.Assign)
                if any(isinstance(each, ast.Name) and each.id == tensor.id for each in one.targets)
                and one.lineno < tensor.lineno
                and not (isinstance(one.value, ast.BinOp) and tensor.id in names_in(one.value))
            ]
            if not given or any(unparsed(one) != unparsed(given[-1]) for one in given[:-1] if len(given) > 2):
                return False
            tensor = given[-1]
        else:
            break
    parts = tensor.slice.elts if isinstance(tensor, ast.Subscript) and isinstance(tensor.slice, ast.Tuple) else []
    whole = [isinstance(one, ast.Slice) and one.lower is None and one.upper is None for one in parts]
    return whole in ([True, False, True], [True, False]) and integer(parts[1]) == -1


def _rank(analysis: Analysis, tensor: ast.expr, depth: int = 8) -> int:
    """Return how many axes a tensor has at least."""
    axes = axes_of(analysis, tensor)
    if axes is not None or depth == 0:
        return len(axes or ())
    if isinstance(tensor, ast.Name):
        scope = scope_of(tensor, analysis.parents)
        given = [
            one.value
            for one in walk(scope)
            if isinstance(one, ast.Assign | ast.AugAssign) and one.lineno < tensor.lineno
            and unparsed(one.targets[0] if isinstance(one, ast.Assign) else one.target) == tensor.id
        ]  # fmt: skip
        return max((_rank(analysis, one, depth - 1) for one in given[-4:]), default=0)
    if isinstance(tensor, ast.BinOp):
        if isinstance(tensor.op, ast.MatMult) and _is_turned(tensor.right):
            return _BATCHED
        return max(_rank(analysis, one, depth - 1) for one in (tensor.left, tensor.right))
    if isinstance(tensor, ast.Call):
        rest = arguments_after_subject(tensor)
        if called(tensor) in ("bmm", "baddbmm") or (called(tensor) == "matmul" and rest and _is_turned(rest[0])):
            return _BATCHED
        on = subject(tensor)
        return _rank(analysis, on, depth - 1) if on is not None and called(tensor) in _KEEPS | {"masked_fill_"} else 0
    return 0


def _is_turned(node: ast.expr) -> bool:
    """Say whether the last two axes of several are exchanged: ``k.transpose(-2, -1)``."""
    numbers = [integer(one) for one in arguments_after_subject(node)] if isinstance(node, ast.Call) else []
    if called(node) == "transpose" and None not in numbers:
        return sorted(one for one in numbers if one is not None) in ([-2, -1], [1, 2], [2, 3])
    return called(node) == "permute" and len(numbers) >= _BATCHED


def _is_of_classes(analysis: Analysis, call: Call, scope: ast.AST) -> bool:
    """Say whether log-probabilities go to a likelihood in their file, or what they are of was flattened by sample."""
    if "log_softmax" in call.name.lower() and analysis.source.words & _LIKELIHOODS:
        return True
    return any(
        isinstance(one, ast.Call)
        and called(one) == "flatten"
        and [integer(each) for each in arguments_after_subject(one)] == [1]
        for one in walk(scope)
    )
