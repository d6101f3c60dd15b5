"""An averaged model keeps batch statistics that belong to other weights.

What it finds:
    `AveragedModel(model)` where the model is known to hold BatchNorm, without `update_bn` or `use_buffers=True`. Also
    an average by hand: `average = copy.deepcopy(model).eval()`, whose parameters follow the model's in a loop over
    both.

Why:
    The running mean and variance were those of the first weights; the averaged model predicts badly.

How sure:
    Neither `update_bn` nor `use_buffers` occurs in the program. A copy is reported where it is put into evaluation mode
    and never back, so that it takes no statistics of its own, and where nothing mentions buffers or running statistics.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import inner_modules, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Const, Instance, Value

BAD = """\
import torch.nn as nn
from torch.optim.swa_utils import AveragedModel

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
average = AveragedModel(net)  # <- TW607
"""

GOOD = """\
import torch.nn as nn
from torch.optim.swa_utils import AveragedModel

net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
average = AveragedModel(net, use_buffers=True)
"""


@rule(code="TW607", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is averaged."""
    if analysis.mentions("update_bn"):
        return
    for call in once_per_place(analysis.calls("torch.optim.swa_utils.AveragedModel")):
        inner = call.argument(0, "model")
        if inner is None or (call.has(None, "use_buffers") and call.constant(None, "use_buffers") is not False):
            continue
        if _has_batch_norm(inner):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="the averaged model keeps the batch statistics of its first weights",
                fix="Call `torch.optim.swa_utils.update_bn(loader, model)`, or pass `use_buffers=True`.",
            )
    for loop, parameters in _followed_by_hand(analysis):
        yield Hit(
            place=analysis.place(loop, parameters.context),
            message="the average follows the parameters of the model, and keeps its first batch statistics",
            fix="Copy the buffers, too: `for a, b in zip(average.buffers(), model.buffers()): a.copy_(b)`.",
        )


def _has_batch_norm(value: Value) -> bool:
    return any(one.type.startswith("torch.nn.BatchNorm") for one in inner_modules(value))


_BUFFERS = (
    "buffers", "named_buffers", "running_mean", "running_var", "use_buffers", "track_running_stats",
    "reset_running_stats",
)  # fmt: skip


def _followed_by_hand(analysis: Analysis) -> Iterator[tuple[ast.For, Call]]:
    """Yield the loops that write a model's parameters into those of its copy, which is in evaluation mode."""
    if "deepcopy" not in analysis.source.words or analysis.mentions(*_BUFFERS):
        return
    copies = [call.result for call in analysis.calls("copy.deepcopy") if is_module(call.result)]
    copies = [one for one in copies if _has_batch_norm(one)]
    done: set[ast.AST] = set()
    for call in analysis.method_calls("parameters", "named_parameters") if copies else ():
        average = next((one for one in copies if one is call.owner), None)
        if not isinstance(average, Instance) or not _only_evaluates(analysis, average):
            continue
        for loop in nodes_of(call.context.function.node if call.context.function else analysis.source.tree, ast.For):
            if loop not in done and _writes_into(loop, call.node):
                done.add(loop)
                yield loop, call


def _only_evaluates(analysis: Analysis, average: Instance) -> bool:
    """Say whether a copy is put into evaluation mode and never back, and takes no weights but those of a loop."""
    evals = [one for one in analysis.method_calls("eval") if one.owner is average]
    modes = [one for one in analysis.method_calls("train") if average in inner_modules(one.owner)]
    given = [one for one in analysis.method_calls("load_state_dict") if one.owner is average and one.context.in_loop]
    trains = [one for one in modes if one.argument(0, "mode") != Const(value=False)]
    return bool(evals) and not trains and not given


def _writes_into(loop: ast.For, parameters: ast.Call) -> bool:
    """Say whether a loop over pairs of parameters changes the first model's, of which `parameters` is the call."""
    pairs = loop.iter if isinstance(loop.iter, ast.Call) and unparsed(loop.iter.func) == "zip" else None
    targets = loop.target.elts if isinstance(loop.target, ast.Tuple) else []
    if pairs is None or parameters not in pairs.args or len(targets) != len(pairs.args):
        return False
    others = [one for one in pairs.args if one is not parameters]
    if not all(isinstance(one, ast.Call) and unparsed(one.func).endswith("parameters") for one in others):
        return False
    target = targets[pairs.args.index(parameters)]
    name = next((one.id for one in reversed(nodes_of(target, ast.Name))), "")
    return any(_changes(one, name) for one in walk(loop))


def _changes(node: ast.AST, name: str) -> bool:
    """Say whether a node writes into a tensor: `a.mul_(...)`, `a.data.copy_(...)`, `a.data = ...`."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return unparsed(node) == f"{name}.data"
    in_place = isinstance(node, ast.Attribute) and node.attr.endswith("_") and node.attr not in _NO_CHANGE
    return in_place and unparsed(node.value).removesuffix(".data") == name  # type: ignore[attr-defined]


_NO_CHANGE = ("requires_grad_", "retain_grad_", "detach_")
