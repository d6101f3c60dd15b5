"""Initialisation: fans, gains and widths against torch.nn.init."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.initialisation import Mode, Scheme, fans, gain, spread

weights = st.lists(st.integers(1, 9), min_size=2, max_size=5).map(tuple)


@settings(max_examples=150)
@given(weights)
def test_fans_agree_with_torch(shape: tuple[int, ...]) -> None:
    assert tuple(fans(shape=shape)) == nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@settings(max_examples=200)
@given(st.floats(0, 5), st.sampled_from(["linear", "sigmoid", "tanh", "relu", "selu"]))
def test_gains_agree_with_torch(slope: float, name: Any) -> None:
    assert gain(activation=name) == pytest.approx(nn.init.calculate_gain(name))
    assert gain(activation="leaky_relu", slope=slope) == pytest.approx(nn.init.calculate_gain("leaky_relu", slope))
    assert gain(activation="Leaky-ReLU") == pytest.approx(nn.init.calculate_gain("leaky_relu"))


@settings(max_examples=60)
@given(st.tuples(st.integers(60, 90), st.integers(60, 90)), st.sampled_from(["fan_in", "fan_out"]), st.data())
def test_widths_agree_with_what_torch_draws(shape: tuple[int, int], mode: Mode, data: st.DataObject) -> None:
    torch.manual_seed(data.draw(st.integers(0, 10**6)))
    tensor = torch.empty(shape)
    schemes: list[tuple[Scheme, Any, dict[str, Any], float]] = [
        ("xavier", nn.init.xavier_uniform_, {}, 1.0),
        ("kaiming", nn.init.kaiming_uniform_, {"mode": mode, "nonlinearity": "relu"}, 2**0.5),
    ]
    for scheme, draw, more, scale in schemes:
        ours = spread(shape=shape, scheme=scheme, mode=mode, gain=scale)
        draw(tensor, **more)
        assert ours.bound is not None
        # 3,600 draws or more: the largest is within 1 % of the bound, and never beyond.
        # torch draws in float32, whose neighbour of the bound may be above it.
        assert 0.99 * ours.bound <= tensor.abs().max().item() <= ours.bound * (1 + 2**-23)
        assert tensor.std().item() == pytest.approx(ours.std, rel=0.08)


def test_published_values() -> None:
    # He et al. 2015, section 2.2: std = sqrt(2 / n), n = k * k * c; Glorot and Bengio 2010, equation 16.
    he = spread(shape=(64, 64, 3, 3), scheme="kaiming", distribution="normal", gain=gain(activation="relu"))
    assert he.std == pytest.approx(math.sqrt(2 / (3 * 3 * 64)), rel=1e-12)
    glorot = spread(shape=(300, 100), scheme="xavier")
    assert glorot.bound == pytest.approx(math.sqrt(6) / math.sqrt(100 + 300))
    assert spread(shape=(300, 100), scheme="lecun", gain=5).std == 0.1


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_the_gain_keeps_the_variance(seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(2000, 400)
    std = spread(shape=(400, 400), scheme="kaiming", distribution="normal", gain=gain(activation="relu")).std
    out = torch.relu(x) @ (std * torch.randn(400, 400)).T
    assert out.pow(2).mean().item() == pytest.approx(1, rel=0.2)


def test_default_of_linear_and_conv() -> None:
    # kaiming_uniform_(a=sqrt(5)): the bound is 1 / sqrt(fan_in).
    layer = nn.Conv2d(30, 40, 3)
    ours = spread(shape=layer.weight.shape, scheme="kaiming", gain=gain(activation="leaky_relu", slope=math.sqrt(5)))
    assert ours.bound == pytest.approx(1 / math.sqrt(30 * 9))
    assert layer.weight.abs().max().item() <= 1 / math.sqrt(30 * 9)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="has no fan-in"):
        fans(shape=(5,))
    with pytest.raises(ShapeError, match="has no connections"):
        spread(shape=(5, 0), scheme="kaiming")
    with pytest.raises(UsageError, match="no gain for activation 'gelu'"):
        gain(activation="gelu")
    with pytest.raises(UsageError, match="no scheme 'other'"):
        spread(shape=(5, 5), scheme="other")  # type: ignore[arg-type]  # that is the question
