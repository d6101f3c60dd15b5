"""Cutting a model, in this process; pipelines of real processes are in test_spread."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainworthy.errors import TrainError, UsageError
from trainworthy.train.recipe import Loss
from trainworthy.train.stages import Answer, call_of, stage_modules


class Skips(nn.Module):
    """What the first stage computes is used by the last; an argument too, and one is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.register_buffer("shift", torch.ones(4))
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor, scale: Tensor, extra: Tensor | None = None) -> Tensor:
        h = early = self.first(x) + self.shift
        for block in self.blocks:
            h = block(h).relu()
        if extra is not None:
            h = h + extra
        return self.last(h + early) * scale  # type: ignore[no-any-return]


def through(stages: list[Any], model: nn.Module, *args: Any) -> Any:
    bound = inspect.signature(model.forward).bind(*args)
    bound.apply_defaults()
    carried: Any = ()
    for stage in stages:
        names = [node.target for node in stage.graph.nodes if node.op == "placeholder"]
        carried = stage(*carried, *(bound.arguments[name] for name in names if not name.startswith("carried_")))
    return carried


@pytest.mark.parametrize("starts", [["blocks.1"], ["blocks.1", "blocks.2"], ["blocks.0", "last"]])
def test_stages_in_a_row_are_the_model(starts: list[str]) -> None:
    model = Skips()
    stages = stage_modules(model, starts, ["blocks.0"], {"extra": None})
    x, scale = torch.randn(5, 3), torch.tensor(2.0)
    assert torch.equal(through(stages, model, x, scale), model(x, scale))
    assert torch.equal(through(stages, model, x[:2], scale), model(x[:2], scale))  # no shape is baked in
    names = [name for stage in stages for name, _ in stage.named_parameters()]
    assert sorted(names) == sorted(name for name, _ in model.named_parameters())


def test_tied_weights_are_refused() -> None:
    model = Skips()
    model.blocks[2].weight = model.blocks[0].weight
    with pytest.raises(UsageError, match=r"blocks\.2\.weight of stage 1 is blocks\.0\.weight of stage 0"):
        stage_modules(model, ["blocks.1"], [], {"extra": None})


def test_a_block_that_is_not_called() -> None:
    with pytest.raises(UsageError, match=r"does not call 'blocks\.0' after the blocks before it"):
        stage_modules(Skips(), ["blocks.1", "blocks.0"], [], {"extra": None})


def test_a_forward_that_asks_for_values_cannot_be_traced() -> None:
    class Asks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(UsageError, match="cannot be traced: symbolically traced variables cannot be used"):
        stage_modules(Asks(), ["a"], [], {})


def test_with_what_a_loss_calls_the_model() -> None:
    batch = torch.ones(2)
    assert call_of(lambda model, each: Loss(total=model(each, scale=3)), batch) == ((batch,), {"scale": 3})
    with pytest.raises(TrainError, match="never calls the model"):
        call_of(lambda model, each: Loss(total=each.sum()), batch)


def test_a_pipeline_answers_once() -> None:
    answer = Answer(torch.ones(1))
    assert answer(1) == 1
    with pytest.raises(TrainError, match="more than once"):
        answer(1)
