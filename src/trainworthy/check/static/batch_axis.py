"""Softmaxes over the axis of the samples, as far as the sizes that the source writes tell."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import arguments_after_subject, called, integer, is_shape_of, last_given, subject
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, is_a_test, names_in, once_per_place
from trainworthy.check.static.softmax_uses import used_over_another_axis
from trainworthy.check.static.tree import own, unparsed
from trainworthy.check.static.values import Instance
from trainworthy.check.static.written_shapes import written

_MODULES = ("torch.nn.Softmax.__call__", "torch.nn.LogSoftmax.__call__")
_FUNCTIONS = frozenset({"softmax", "log_softmax"})
_KEEPS_AXES = frozenset("contiguous clone float double half to detach masked_fill clamp log exp".split())
_BATCH = re.compile(r"(\w+\.)*_?(b|bs|bsz|bsize|nbatch|n_batch|\w*batch_?(size|sz)?)$", re.IGNORECASE)
# Weights that are shares of the batch on purpose.
_SHARES = re.compile(r"weight|adv|prior|import|sinkhorn|assign|proto|contrast|simil|mining", re.IGNORECASE)


def softmaxes_over_samples(analysis: Analysis) -> Iterator[tuple[Call, int, str]]:
    """Yield softmaxes with their axis, and what says that it is that of the samples."""
    if is_a_test(analysis.source) or not any("oftmax" in word for word in analysis.source.words):
        return
    calls = (*analysis.calls(*_MODULES), *analysis.method_calls(*sorted(_FUNCTIONS)))
    for call in once_per_place(iter(calls)):
        node, rest = _parts(call)
        axis = _axis(call, rest)
        if axis is None or node is None or call.context.source is not analysis.source:
            continue
        if axis == 0 and (used := used_over_another_axis(analysis, call, node)) is not None:
            yield call, axis, used
            continue
        sizes = _sizes(node, call)
        rank = len(sizes)
        if rank < 2 or not -rank <= axis < rank or _is_meant(analysis, call):
            continue
        batches = [at for at, size in enumerate(sizes) if _BATCH.match(size)]
        if batches == [axis % rank]:
            yield call, axis, f"axis {axis} is that of the samples, of size `{sizes[axis]}`"
        elif sizes[axis] == "-1" and axis == -2 and rank == 2 and _is_of_densities(call):
            yield call, axis, f"axis {axis} is that of the samples"


def _parts(call: Call) -> tuple[ast.expr | None, list[ast.expr]]:
    """Return the tensor and the arguments after it; a function's name tells where the file calls its library else."""
    if call.name in _MODULES or call.name.startswith(("torch.nn.functional.", "torch.softmax", "torch.log_softmax")):
        return (call.node.args[0] if call.node.args else None), call.node.args[1:]
    return subject(call.node), arguments_after_subject(call.node)


def _axis(call: Call, rest: list[ast.expr]) -> int | None:
    if call.name in _MODULES:
        made = call.owner.made_by if isinstance(call.owner, Instance) else None
        given = made.constant(0, "dim") if made is not None else None
    elif call.name.startswith(("project", "numpy", "scipy", "jax", "tensorflow")):
        return None
    else:
        named = next((one.value for one in call.node.keywords if one.arg in ("dim", "axis")), None)
        given = integer(named or (rest[0] if rest else None))
    return given if isinstance(given, int) and not isinstance(given, bool) else None


def _sizes(node: ast.expr, call: Call) -> tuple[str, ...]:
    """Return the sizes of a tensor as the source writes them: of its last view, of its unpacked shape, of a comment."""
    scope = body_of(call.context)
    for _ in range(6):
        if isinstance(node, ast.Name):
            said = written(node, call.context) or _unpacked(node, scope)
            given = last_given(scope, node.id, node.lineno)
            if said or given is None:
                return said or ()
            node = given
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.Mult):
            node = node.left
        elif isinstance(node, ast.Call) and called(node) in _KEEPS_AXES and isinstance(node.func, ast.Attribute):
            node = node.func.value
        elif isinstance(node, ast.Call) and called(node) in ("view", "reshape"):
            whole = arguments_after_subject(node)
            if len(whole) == 1 and isinstance(whole[0], ast.Tuple | ast.List):
                whole = whole[0].elts
            starred = any(isinstance(one, ast.Starred) for one in whole) or len(whole) < 2
            return () if starred else tuple(unparsed(one) for one in whole)
        else:
            break
    return ()


def _unpacked(name: ast.Name, scope: ast.AST) -> tuple[str, ...]:
    """Return the names of ``b, t, c = x.shape``, if nothing bound ``x`` since."""
    if not isinstance(scope, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
        return ()
    found: tuple[str, ...] = ()
    for node in own(scope):
        if getattr(node, "lineno", 0) >= name.lineno:
            break
        if isinstance(node, ast.Name) and node.id == name.id and isinstance(node.ctx, ast.Store):
            found = ()
        elif isinstance(node, ast.Assign) and is_shape_of(node.value, name.id):
            parts = node.targets[0].elts if isinstance(node.targets[0], ast.Tuple) else []
            found = tuple(one.id if isinstance(one, ast.Name) else "*" for one in parts)
            found = () if "*" in found else found
    return found


def _is_meant(analysis: Analysis, call: Call) -> bool:
    """Say whether what the softmax makes, or the function around it, is called by shares of the whole batch."""
    node: ast.AST = call.node
    while node in analysis.parents and not isinstance(node, ast.stmt):
        node = analysis.parents[node]
    function = call.context.function
    names = names_in(node) | {function.name if function is not None else ""}
    return any(_SHARES.search(one) for one in names)


def _is_of_densities(call: Call) -> bool:
    """Say whether it is a log-softmax within a module: of samples that a view put along its first axis."""
    owner = call.context.function.owner if call.context.function is not None else None
    return owner is not None and owner.lookup("forward") is not None and "log" in call.name.lower()
