from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.train.precision import LossScale, precision

CPU = torch.device("cpu")


@given(good=st.lists(st.booleans(), max_size=40))
def test_scale_moves_as_torchs_gradscaler(good: list[bool]) -> None:
    own = LossScale(interval=3)
    theirs = torch.amp.GradScaler("cpu", growth_interval=3)
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=0.0)
    theirs.scale(torch.zeros(1))
    for fine in good:
        parameter.grad = torch.tensor([1.0 if fine else math.inf])
        theirs.unscale_(optimizer)
        theirs.step(optimizer)
        theirs.update()
        own.succeeded() if fine else own.overflowed()
        assert own.value == theirs.get_scale()


def test_goes_on_from_its_state() -> None:
    one, other = LossScale(), LossScale()
    one.overflowed()
    one.succeeded()
    other.load_state_dict(one.state_dict())
    assert (other.value, other.good_steps, other.skipped_steps) == (32768.0, 1, 1)


@pytest.mark.parametrize(
    ("name", "dtype", "scaled"),
    [
        ("fp32", torch.float32, False),
        ("tf32", torch.float32, False),
        ("bf16", torch.bfloat16, False),
        ("fp16", torch.float16, True),
    ],
)
def test_in_what_a_product_is_computed(
    name: Literal["fp32", "tf32", "bf16", "fp16"], dtype: torch.dtype, scaled: bool
) -> None:
    made = precision(name, CPU)
    with made.context():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert (made.scaler() is not None) == scaled


def test_tf32_is_allowed_only_when_asked_for() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        precision("tf32", CPU)
        assert torch.get_float32_matmul_precision() == "high"
        precision("fp32", CPU)
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision(before)
