from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainworthy.train.finite import first_cause
from trainworthy.train.recipe import Loss


class Root(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sqrt()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.root, self.last = nn.Linear(2, 2), Root(), nn.Linear(2, 1)
        with torch.no_grad():
            for each in self.parameters():
                each.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.root(self.first(x)))  # type: ignore[no-any-return]


def cause(net: nn.Module, *batches: Any, loss: Any = None) -> str | None:
    function = loss or (lambda model, batch: Loss(total=model(batch["x"]).sum()))
    return first_cause(net, batches, function, names={id(each): name for name, each in net.named_parameters()})


GOOD = {"x": torch.ones(3, 2)}


def test_nothing() -> None:
    assert cause(Net(), GOOD, GOOD) is None


def test_a_weight() -> None:
    net = Net()
    with torch.no_grad():
        net.last.weight[0, 0] = float("inf")
    assert cause(net, GOOD) == "the weight last.weight holds 1 infinite of 2 numbers before the step"


def test_the_data() -> None:
    bad = {"x": torch.tensor([[1.0, float("nan")]])}
    found = cause(Net(), GOOD, bad)
    assert found == "micro-batch 1: the data: batch['x'] of shape (1, 2) holds 1 NaN of 2 numbers"


def test_where_all_ranks_have_to_join_every_batch_runs() -> None:
    calls = []

    def loss(model: nn.Module, batch: Any) -> Loss:
        calls.append(1)
        return Loss(total=model(batch["x"]).sum())

    bad = {"x": torch.tensor([[1.0, float("nan")]])}
    assert first_cause(Net(), (bad, GOOD), loss, names={}, runs="together") == (
        "micro-batch 0: the data: batch['x'] of shape (1, 2) holds 1 NaN of 2 numbers"
    )
    assert len(calls) == 2
    assert first_cause(Net(), (GOOD,), loss, names={}, runs="not") is None
    assert len(calls) == 2


def test_the_first_module() -> None:
    found = cause(Net(), {"x": torch.full((3, 2), -5.0)})
    assert found == "module root (Root): its output holds 6 NaN of 6 numbers"


def test_the_loss_function() -> None:
    found = cause(Net(), GOOD, loss=lambda model, batch: Loss(total=model(batch["x"]).sum() * float("inf")))
    assert found == "the loss function: every module's output is finite, and the loss is not"


def test_a_gradient() -> None:
    found = cause(Net(), {"x": torch.full((3, 2), -0.5)})  # the root of 0 has an infinite slope
    assert found is not None
    assert found.startswith("the gradient of first.bias: the forward pass is finite")


@pytest.mark.parametrize("bad", [False, True])
def test_hooks_are_taken_away(bad: bool) -> None:
    net = Net()
    cause(net, {"x": torch.full((3, 2), -5.0 if bad else 1.0)})
    assert not any(module._forward_hooks for module in net.modules())
