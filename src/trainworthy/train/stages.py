"""Cutting a model into stages: its forward is traced with torch.fx, and cut where a named block begins."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from torch import fx, nn

from trainworthy.errors import TrainError, UsageError
from trainworthy.train.recipe import Batch, LossFunction

_HOW = "A model is cut into stages by tracing its forward with torch.fx; what is inside of Recipe.blocks is not traced."


class _CalledError(Exception):
    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.args, self.kwargs = args, kwargs


class _Probe(nn.Module):
    """Stands in for the model to learn what the loss calls it with."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise _CalledError(args, kwargs)


class Answer(nn.Module):
    """Stands in for the model, and answers with what the pipeline computed."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self._answer: Any = answer

    def forward(self, *_args: Any, **_kwargs: Any) -> Any:
        """Return the answer, once."""
        answer, self._answer = self._answer, None
        if answer is None:
            raise TrainError("The loss calls the model more than once; a pipeline answers once.", where="Phase.loss")
        return answer


def call_of(loss: LossFunction, batch: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return with which arguments the loss calls the model.

    Raises:
        TrainError: It calls no model.
    """
    try:
        loss(_Probe(), batch)
    except _CalledError as called:
        return called.args, called.kwargs
    raise TrainError("The loss never calls the model, so there is nothing for a pipeline to do.", where="Phase.loss")


def stage_modules(model: nn.Module, starts: list[str], leaves: Iterable[str], absent: Mapping[str, Any]) -> list[Any]:
    """Cut a model where the blocks named ``starts`` begin.

    Args:
        model: With a forward that torch.fx can trace.
        starts: In the order in which they are called.
        leaves: Modules not to look into.
        absent: Arguments of ``forward`` that calls leave out, with their defaults.

    Returns:
        One ``GraphModule`` for each stage: (what the stage before returned, then the model's arguments by name) -> a
        tuple of what later stages need; of the last stage, the model's output.

    Raises:
        UsageError: The model cannot be traced, a block is not called, or two stages share a parameter.
    """
    tracer = _Tracer({*starts, *leaves})
    try:
        graph = tracer.trace(model, concrete_args=dict(absent))
    except Exception as error:  # tracing runs the user's code, which may fail in any way
        raise UsageError(
            f"The model's forward cannot be traced: {str(error).splitlines()[0]}",
            where="train.pipeline_parallel",
            fix=_HOW,
        ) from error
    number = _number_stages(graph, starts)
    stages = [_stage(model, graph, number, index) for index in range(len(starts) + 1)]
    owner: dict[int, tuple[int, str]] = {}
    for index, stage in enumerate(stages):
        for name, parameter in stage.named_parameters():
            other, first_name = owner.setdefault(id(parameter), (index, name))
            if other != index:
                raise UsageError(
                    f"{name} of stage {index} is {first_name} of stage {other}: tied weights cannot be in two stages.",
                    where="Recipe.pipeline_split",
                    fix="Untie them, or use train.distributed=fsdp.",
                )
    return stages


class _Tracer(fx.Tracer):
    def __init__(self, leaves: set[str]) -> None:
        super().__init__()
        self._names = leaves

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._names or super().is_leaf_module(m, module_qualified_name)


def _number_stages(graph: fx.Graph, starts: list[str]) -> dict[fx.Node, int]:
    number, stage, left = {}, 0, list(starts)
    for node in graph.nodes:
        if left and node.op == "call_module" and node.target == left[0]:
            stage += 1
            left.pop(0)
        number[node] = stage
    if left:
        raise UsageError(f"The model's forward does not call {left[0]!r} after the blocks before it.", fix=_HOW)
    return number


def _stage(model: nn.Module, graph: fx.Graph, number: dict[fx.Node, int], index: int) -> fx.GraphModule:
    carried = [node for node in graph.nodes if node.op not in {"placeholder", "get_attr", "output"}]
    incoming = [each for each in carried if number[each] < index and any(number[user] >= index for user in each.users)]
    outgoing = [each for each in carried if number[each] <= index and any(number[user] > index for user in each.users)]
    own = fx.Graph()
    copies = {node: own.placeholder(f"carried_{place}") for place, node in enumerate(incoming)}
    arguments = [node for node in graph.nodes if node.op == "placeholder"]
    for node, name in zip(arguments, inspect.signature(model.forward).parameters, strict=True):
        copies[node] = own.placeholder(name, default_value=None)  # fx renames those that have a fixed value
    last = index == max(number.values())
    for node in graph.nodes:
        if node.op == "output":
            own.output(fx.map_arg(node.args[0], copies.__getitem__) if last else tuple(copies[n] for n in outgoing))
        elif node.op == "get_attr":
            if any(number[user] == index for user in node.users):
                copies[node] = own.node_copy(node)
        elif node.op != "placeholder" and number[node] == index:
            copies[node] = own.node_copy(node, copies.__getitem__)
    return fx.GraphModule(model, own)
