"""The three steps of a transposed convolution give the numbers that PyTorch gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainworthy.errors import ShapeError
from trainworthy.formulas.conv import Pad
from trainworthy.formulas.conv_values import convolved, padded_values, spread_values, stamped_values, transposed_values

values = st.lists(st.integers(-9, 9), min_size=1, max_size=9)
kernels = st.lists(st.integers(-9, 9), min_size=1, max_size=5)
small, strides = st.integers(0, 3), st.integers(1, 4)


def tensor(numbers: list[int]) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)[None, None]


@settings(max_examples=200)
@given(values, kernels, strides, small, st.integers(1, 3))
def test_conv_agrees_with_torch(x: list[int], k: list[int], stride: int, padding: int, dilation: int) -> None:
    try:
        ours = convolved(values=x, kernel=k, stride=stride, padding=padding, dilation=dilation)
    except ShapeError:
        assume(False)
    expected = F.conv1d(tensor(x), tensor(k), stride=stride, padding=padding, dilation=dilation)
    assert list(ours) == expected[0, 0].tolist()


@settings(max_examples=300)
@given(x=values, k=kernels, stride=strides, padding=small, extra=st.integers(0, 2), dilation=st.integers(1, 3))
def test_three_steps_and_stamps_agree_with_torch(
    *, x: list[int], k: list[int], stride: int, padding: int, extra: int, dilation: int
) -> None:
    options: dict[str, Any] = {"stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation}
    try:
        steps = transposed_values(values=x, kernel=k, **options)
    except ShapeError:
        assume(False)
    expected = F.conv_transpose1d(tensor(x), tensor(k), **options)[0, 0].tolist()
    assert list(steps.output) == expected
    assert list(stamped_values(values=x, kernel=k, **options)) == expected
    assert steps.flipped_kernel == tuple(reversed(k))


@settings(max_examples=200)
@given(values, kernels, strides, small)
def test_it_is_the_gradient_of_a_convolution(x: list[int], k: list[int], stride: int, padding: int) -> None:
    try:
        out = convolved(values=x, kernel=k, stride=stride, padding=padding)
    except ShapeError:
        assume(False)
    inputs = tensor(x).requires_grad_()
    upstream = torch.arange(1, len(out) + 1, dtype=torch.float64)[None, None]
    (gradient,) = torch.autograd.grad(F.conv1d(inputs, tensor(k), stride=stride, padding=padding), inputs, upstream)
    try:
        ours = stamped_values(values=upstream[0, 0].tolist(), kernel=k, stride=stride, padding=padding)
    except ShapeError:
        assume(False)
    assert list(ours) == gradient[0, 0, : len(ours)].tolist()


def test_pads_and_zeros() -> None:
    assert spread_values(values=[], zeros_between=2) == ()
    assert spread_values(values=[5], zeros_between=2) == (5,)
    assert padded_values(values=[1, 2, 3, 4], pad=Pad(-1, -2)) == (2,)
    with pytest.raises(ShapeError):
        convolved(values=[1], kernel=[1, 2])
