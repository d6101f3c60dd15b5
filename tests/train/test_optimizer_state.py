"""An optimizer's state is known by the names of parameters, whatever their order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from trainworthy.errors import UsageError
from trainworthy.train.optimizer_state import by_name, load_by_name, plain_name


def trained(order: int = 1) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    groups: list[dict[str, Any]] = [
        {"params": list(model[0].parameters())[::order], "lr": 0.1},
        {"params": list(model[1].parameters())},
    ]
    optimizer = torch.optim.Adam(groups, lr=0.2, betas=(0.8, 0.9))
    for _ in range(2):
        model(torch.randn(4, 2)).sum().backward()
        optimizer.step()
    return model, optimizer


def test_state_is_keyed_by_names_and_comes_back_in_another_order() -> None:
    model, optimizer = trained()
    state = by_name(optimizer, model.named_parameters())
    assert set(state["state"]) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert [group["params"] for group in state["groups"]] == [["0.weight", "0.bias"], ["1.weight", "1.bias"]]
    other, target = trained(order=-1)
    for group in target.param_groups:
        group["lr"] = 9.0
    load_by_name(target, state, other.named_parameters())
    for name, parameter in other.named_parameters():
        mine = dict(model.named_parameters())[name]
        for key, value in optimizer.state[mine].items():
            assert torch.equal(target.state[parameter][key], value)
    assert [group["lr"] for group in target.param_groups] == [0.1, 0.2]
    assert target.param_groups[0]["betas"] == (0.8, 0.9)


def test_another_model_is_refused_by_name() -> None:
    model, optimizer = trained()
    state = by_name(optimizer, model.named_parameters())
    small = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1, bias=False))
    target = torch.optim.Adam(small.parameters())
    with pytest.raises(UsageError, match=r"holds other parameters than this one: 1\.bias"):
        load_by_name(target, state, small.named_parameters())
    with pytest.raises(UsageError, match=r"a parameter of shape \(3, 2\) not in the model"):
        by_name(optimizer, small.named_parameters())


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        ("module.layer.weight", "layer.weight"),
        ("_orig_mod.block._checkpoint_wrapped_module.weight", "block.weight"),
        ("module.0.weight", "0.weight"),
    ],
)
def test_what_wrappers_put_into_names_is_taken_out(wrapped: str, plain: str) -> None:
    assert plain_name(wrapped) == plain
