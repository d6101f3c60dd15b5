"""Convolution arithmetic along one axis: the relations of Dumoulin and Visin, PyTorch as oracle, and laws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.conv import (
    Pad,
    adaptive_windows,
    axis_padding,
    conv_size,
    output_padding_for,
    pool_size,
    reach,
    same_padding,
    transposed_size,
    transposed_steps,
    unread_positions,
    window,
)

numbers = {
    "size": st.integers(1, 24), "kernel": st.integers(1, 7), "stride": st.integers(1, 5), "padding": st.integers(0, 5),
    "dilation": st.integers(1, 4),
}  # fmt: skip

# "A guide to convolution arithmetic", figures 2.1 to 2.7 and 4.1 to 4.7: (i, k, s, p) -> o.
GUIDE = [
    ((4, 3, 1, 0), 2), ((5, 4, 1, 2), 6), ((5, 3, 1, 1), 5), ((5, 3, 1, 2), 7), ((5, 3, 2, 0), 2), ((5, 3, 2, 1), 3),
    ((6, 3, 2, 1), 3),
]  # fmt: skip
GUIDE_TRANSPOSED = [
    ((2, 3, 1, 0, 0), 4), ((6, 4, 1, 2, 0), 5), ((5, 3, 1, 1, 0), 5), ((7, 3, 1, 2, 0), 5), ((2, 3, 2, 0, 0), 5),
    ((3, 3, 2, 1, 0), 5), ((3, 3, 2, 1, 1), 6),
]  # fmt: skip


@pytest.mark.parametrize(("numbers", "out"), GUIDE)
def test_figures_of_the_guide(numbers: tuple[int, int, int, int], out: int) -> None:
    i, k, s, p = numbers
    assert conv_size(size=i, kernel=k, stride=s, padding=p) == out


@pytest.mark.parametrize(("numbers", "out"), GUIDE_TRANSPOSED)
def test_transposed_figures_of_the_guide(numbers: tuple[int, int, int, int, int], out: int) -> None:
    i, k, s, p, a = numbers
    assert transposed_size(size=i, kernel=k, stride=s, padding=p, output_padding=a) == out


def test_sizes_of_published_networks() -> None:
    # ResNet-50 at 224 pixels: 112 after the stem, 56 after its pooling, then 28, 14, 7. DCGAN: 4, 8, 16, 32, 64.
    sizes = [conv_size(size=224, kernel=7, stride=2, padding=3)]
    sizes.append(pool_size(size=sizes[-1], kernel=3, stride=2, padding=1))
    for _ in range(3):
        sizes.append(conv_size(size=sizes[-1], kernel=3, stride=2, padding=1))
    assert sizes == [112, 56, 28, 14, 7]
    generator = [transposed_size(size=1, kernel=4)]
    for _ in range(4):
        generator.append(transposed_size(size=generator[-1], kernel=4, stride=2, padding=1))
    assert generator == [4, 8, 16, 32, 64]
    # AlexNet pools 55, 27 and 13 with kernel 3 and stride 2; GoogLeNet rounds up.
    assert [pool_size(size=n, kernel=3, stride=2) for n in (55, 27, 13)] == [27, 13, 6]
    assert [pool_size(size=n, kernel=3, stride=2, ceil_mode=True) for n in (112, 56, 28)] == [56, 28, 14]


@settings(max_examples=400)
@given(st.fixed_dictionaries(numbers))
def test_conv_agrees_with_torch(case: dict[str, int]) -> None:
    x, weight = torch.zeros(1, 1, case["size"]), torch.zeros(1, 1, case["kernel"])
    rest: dict[str, Any] = {name: case[name] for name in ("stride", "padding", "dilation")}
    try:
        expected = F.conv1d(x, weight, **rest).shape[-1]
    except RuntimeError:
        with pytest.raises(ShapeError, match="does not fit"):
            conv_size(**case)
    else:
        assert conv_size(**case) == expected


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=200)
@given(st.integers(1, 20), st.integers(1, 8), st.integers(1, 3))
def test_same_and_valid_agree_with_torch(size: int, kernel: int, dilation: int) -> None:
    x, weight = torch.randn(1, 1, size), torch.randn(1, 1, kernel)
    assert conv_size(size=size, kernel=kernel, padding="same", dilation=dilation) == size
    pad = same_padding(kernel=kernel, dilation=dilation)
    ours = F.conv1d(F.pad(x, pad), weight, dilation=dilation)
    assert torch.allclose(ours, F.conv1d(x, weight, padding="same", dilation=dilation), atol=1e-5)
    assert axis_padding(padding="valid", kernel=kernel) == Pad(0, 0)


@settings(max_examples=400)
@given(st.fixed_dictionaries(numbers), st.booleans())
def test_pool_agrees_with_torch(case: dict[str, int], ceil_mode: bool) -> None:
    x = torch.zeros(1, 1, case["size"])
    rest = (case["kernel"], case["stride"], case["padding"], case["dilation"], ceil_mode)
    try:
        expected = F.max_pool1d(x, *rest).shape[-1]
    except RuntimeError:
        with pytest.raises(ShapeError):
            pool_size(**case, ceil_mode=ceil_mode)
    else:
        assert pool_size(**case, ceil_mode=ceil_mode) == expected


@settings(max_examples=150)
@given(st.integers(1, 30), st.integers(1, 12))
def test_adaptive_pooling_agrees_with_torch(size: int, output: int) -> None:
    x = torch.randn(1, 1, size)
    means = [x[0, 0, first:end].mean() for first, end in adaptive_windows(size=size, output=output)]
    assert torch.allclose(torch.stack(means), F.adaptive_avg_pool1d(x, output)[0, 0], atol=1e-6)


@settings(max_examples=400)
@given(st.fixed_dictionaries({**numbers, "output_padding": st.integers(0, 4)}))
def test_transposed_agrees_with_torch(case: dict[str, int]) -> None:
    x, weight = torch.zeros(1, 1, case["size"]), torch.zeros(1, 1, case["kernel"])
    rest: dict[str, Any] = {name: case[name] for name in ("stride", "padding", "dilation", "output_padding")}
    try:
        expected = F.conv_transpose1d(x, weight, **rest).shape[-1]
    except RuntimeError:
        with pytest.raises(ShapeError):
            transposed_size(**case)
    else:
        assert transposed_size(**case) == expected
        steps = transposed_steps(**case)
        assert steps.output == expected
        assert steps.padded == expected + case["dilation"] * (case["kernel"] - 1)


@settings(max_examples=250)
@given(st.fixed_dictionaries(numbers))
def test_a_transposed_convolution_undoes_the_size_of_a_convolution(case: dict[str, int]) -> None:
    rest: dict[str, Any] = {name: case[name] for name in ("kernel", "stride", "padding", "dilation")}
    try:
        small = conv_size(**case)
    except ShapeError:
        assume(False)
    lost = unread_positions(**case)
    assert 0 <= lost < case["stride"]
    try:
        back = transposed_size(size=small, **rest)
    except ShapeError:
        assume(False)
    assert back + lost == case["size"]
    extra = output_padding_for(size=small, output=case["size"], **rest)
    assert extra == lost
    assert transposed_size(size=small, output_padding=extra, **rest) == case["size"]


@settings(max_examples=150)
@given(st.fixed_dictionaries(numbers), st.data())
def test_windows_are_the_inputs_with_a_gradient(case: dict[str, int], data: st.DataObject) -> None:
    try:
        num = conv_size(**case)
    except ShapeError:
        assume(False)
    output = data.draw(st.integers(0, num - 1))
    x = torch.zeros(1, 1, case["size"], requires_grad=True)
    rest: dict[str, Any] = {name: case[name] for name in ("stride", "padding", "dilation")}
    F.conv1d(x, torch.ones(1, 1, case["kernel"]), **rest)[0, 0, output].backward()
    assert x.grad is not None
    read = set(x.grad[0, 0].nonzero().flatten().tolist())
    ours = window(output=output, kernel=case["kernel"], **rest)
    assert {at for at in ours if 0 <= at < case["size"]} == read
    assert ours[-1] - ours[0] + 1 == reach(kernel=case["kernel"], dilation=case["dilation"])


def test_output_size_of_torch_is_the_same_choice() -> None:
    layer = torch.nn.ConvTranspose1d(1, 1, 7, stride=2, padding=3)
    assert layer(torch.zeros(1, 1, 112), output_size=[224]).shape[-1] == 224
    assert output_padding_for(size=112, output=224, kernel=7, stride=2, padding=3) == 1
    with pytest.raises(ShapeError, match="from 223 to 224 can"):
        output_padding_for(size=112, output=225, kernel=7, stride=2, padding=3)


@pytest.mark.parametrize("wrong", [
    {"size": -1}, {"kernel": 0}, {"stride": 0}, {"padding": -1}, {"dilation": 0}, {"size": 1.5}, {"size": 1e30},
    {"kernel": "three"}, {"size": 2**64}, {"padding": "full"}, {"size": True},
])  # fmt: skip
def test_what_is_no_size(wrong: dict[str, object]) -> None:
    arguments: dict[str, object] = {"size": 8, "kernel": 3, "stride": 1, "padding": 0, "dilation": 1, **wrong}
    with pytest.raises(UsageError):
        conv_size(**arguments)  # type: ignore[arg-type]  # that is the question


def test_messages_say_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match="reaching over 9 does not fit into 4 positions \\(size 2, padding 1 and 1\\)"):
        conv_size(size=2, kernel=5, padding=1, dilation=2)
    with pytest.raises(ShapeError, match="needs stride 1, got stride 2"):
        conv_size(size=8, kernel=3, stride=2, padding="same")
    with pytest.raises(ShapeError, match="output_padding 2 must be smaller"):
        transposed_size(size=4, kernel=3, stride=2, output_padding=2)
    with pytest.raises(ShapeError, match="cuts all of them off"):
        transposed_size(size=1, kernel=3, padding=2)
    with pytest.raises(ShapeError, match="at most half of the kernel"):
        pool_size(size=8, kernel=3, padding=2)
