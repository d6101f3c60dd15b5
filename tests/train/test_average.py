from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from trainworthy.train.average import Average


def test_agrees_with_torch() -> None:
    model = nn.Linear(3, 2)
    own = Average(model, 0.9)
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(model)  # its first update copies
    for _ in range(5):
        with torch.no_grad():
            for each in model.parameters():
                each.add_(torch.randn_like(each))
        own.update()
        theirs.update_parameters(model)
    for name, each in theirs.module.named_parameters():
        torch.testing.assert_close(own.averages[name], each)


def test_weights_come_back_bit_by_bit_also_after_an_error() -> None:
    model = nn.Linear(3, 2)
    average = Average(model, 0.5)
    with torch.no_grad():
        model.weight.add_(1.0)
    average.update()
    before = model.weight.detach().clone()

    def inside() -> None:
        with average.in_place():
            assert torch.equal(model.weight, average.averages["weight"])
            assert not torch.equal(model.weight, before)
            raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        inside()
    assert torch.equal(model.weight, before)


def test_goes_on_from_its_state() -> None:
    model = nn.Linear(3, 2)
    one, other = Average(model, 0.5), Average(model, 0.5)
    with torch.no_grad():
        model.weight.zero_()
    one.update()
    other.load_state_dict(one.state_dict())
    assert torch.equal(other.averages["weight"], one.averages["weight"])
