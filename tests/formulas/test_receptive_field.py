"""Receptive fields: published ones, the notation, and gradients of chains of real layers as oracle."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainworthy.errors import ShapeError, UsageError
from trainworthy.formulas.receptive_field import Field, Layer, chain_fields, chain_sizes, grow, hull, parse_chain

# Araujo et al. 2019, appendix: field and effective stride of the last feature map.
ALEXNET = "k11s4,k3s2,k5p2,k3s2,k3p1x3,k3s2"
VGG16 = "k3p1x2,k2s2,k3p1x2,k2s2,k3p1x3,k2s2,k3p1x3,k2s2,k3p1x3,k2s2"
# ResNet-v1-50 as in that appendix has its strides in the last unit of a stage, torchvision's in the first.
RESNET50 = "k7s2p3,k3s2p1,k3p1x2,k3s2p1,k3p1x3,k3s2p1,k3p1x5,k3s2p1,k3p1x3"
RESNET50_FIRST = "k7s2p3,k3s2p1,k3p1x3,k3s2p1,k3p1x3,k3s2p1,k3p1x5,k3s2p1,k3p1x2"


@pytest.mark.parametrize(("chain", "size", "jump"), [(ALEXNET, 195, 32), (VGG16, 212, 32), (RESNET50, 483, 32)])
def test_published_fields(chain: str, size: int, jump: int) -> None:
    last = chain_fields(layers=parse_chain(text=chain))[-1]
    assert (last.size, last.jump) == (size, jump)


def test_small_kernels_add_up_to_large_ones() -> None:
    # Simonyan and Zisserman 2014, section 2.3: two 3x3 see 5x5, three see 7x7.
    assert [f.size for f in chain_fields(layers=parse_chain(text="k3x3"))] == [3, 5, 7]
    # Yu and Koltun 2015: dilations 1, 2, 4 see 3, 7, 15.
    assert [f.size for f in chain_fields(layers=parse_chain(text="k3d1,k3d2,k3d4"))] == [3, 7, 15]


def test_where_the_stride_is_matters() -> None:
    last = chain_fields(layers=parse_chain(text=RESNET50_FIRST))[-1]
    assert (last.size, last.jump) == (427, 32)
    assert chain_sizes(size=224, layers=parse_chain(text=RESNET50_FIRST))[-1] == 7


layers = st.lists(
    st.builds(Layer, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.just("")),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150)
@given(layers, st.integers(1, 40), st.data())
def test_fields_are_the_inputs_with_a_gradient(chain: list[Layer], size: int, data: st.DataObject) -> None:
    try:
        sizes = chain_sizes(size=size, layers=chain)
    except ShapeError:
        assume(False)
    x = torch.zeros(1, 1, size, dtype=torch.float64, requires_grad=True)
    out = x
    for layer in chain:
        out = F.conv1d(
            out, torch.ones(1, 1, layer.kernel, dtype=torch.float64), stride=layer.stride, padding=layer.padding,
            dilation=layer.dilation,
        )  # fmt: skip
    assert out.shape[-1] == sizes[-1]
    output = data.draw(st.integers(0, sizes[-1] - 1))
    out[0, 0, output].backward()
    assert x.grad is not None
    read = x.grad[0, 0].nonzero().flatten().tolist()
    low, high = chain_fields(layers=chain)[-1].seen_by(output)
    # The field is the smallest interval around what is read, cut off at the borders; dilation leaves holes in it, and
    # outputs that lie in the padding of a later layer read nothing.
    assert all(low <= at <= high for at in read)
    if all(layer.dilation == 1 and layer.stride <= layer.kernel and layer.padding == 0 for layer in chain):
        assert read == list(range(low, high + 1))


@settings(max_examples=200)
@given(layers, layers)
def test_chains_compose(first: list[Layer], second: list[Layer]) -> None:
    whole = chain_fields(layers=[*first, *second])[-1]
    one, two = chain_fields(layers=first)[-1], chain_fields(layers=second)[-1]
    assert whole.jump == one.jump * two.jump
    assert whole.size == one.size + (two.size - 1) * one.jump
    assert whole.start == one.start + two.start * one.jump


@settings(max_examples=200)
@given(layers)
def test_the_notation_is_read_back(chain: list[Layer]) -> None:
    text = ", ".join(f"k{layer.kernel}s{layer.stride}p{layer.padding}d{layer.dilation}" for layer in chain)
    assert list(parse_chain(text=text)) == chain


def test_the_notation() -> None:
    assert parse_chain(text="stem:k7s2p3, K3P1*2") == (Layer(7, 2, 3, 1, "stem"), Layer(3, 1, 1), Layer(3, 1, 1))
    assert parse_chain(text="s2k3") == (Layer(3, 2),)


@pytest.mark.parametrize("text", ["", "k3,", "s2", "k0", "k3s0", "k3k5", "7x7", "k3s-1", "k", "k3d0", "k3x0", "k1e30"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError):
        parse_chain(text=text)


def test_too_many_layers() -> None:
    with pytest.raises(UsageError, match="more than 10,000"):
        parse_chain(text=",".join(["k3x9999"] * 2))


def test_branches() -> None:
    left, right = grow(field=Field(), kernel=3, stride=1, padding=1), grow(field=Field(), kernel=1, stride=1, padding=0)
    assert hull(fields=[left, right]) == left
    assert hull(fields=[Field(jump=1), Field(jump=2)]) is None


def test_a_layer_that_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError) as wrong:
        chain_sizes(size=8, layers=parse_chain(text="k3s2,k3s2,k3"))
    assert wrong.value.where == "layer 3 of 3"


def test_a_field_that_outgrows_64_bits_is_an_error() -> None:
    with pytest.raises(ShapeError, match="After layer 3"):
        chain_fields(layers=[Layer(2, 2**31)] * 4)
