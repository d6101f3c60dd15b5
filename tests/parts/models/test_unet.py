"""U-Net: sizes by brute force, the copies are cut from the middle."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import ShapeError
from trainworthy.parts.models.unet import Padding, UNet, centre_crop, unet_output_size


def walk(size: int, depth: int, lost: int) -> int | None:
    """Follow a side through the network; None where it does not fit."""
    for _ in range(depth):
        size -= lost
        if size < 2 or size % 2:
            return None
        size //= 2
    for _ in range(depth):
        size = 2 * (size - lost)
    return size - lost if size - lost > 0 else None


@given(size=st.integers(1, 400), depth=st.integers(1, 4), padding=st.sampled_from(["valid", "same"]))
def test_sizes_and_the_next_that_fits(size: int, depth: int, padding: Padding) -> None:
    lost = 4 if padding == "valid" else 0
    expected = walk(size, depth, lost)
    if expected is not None:
        assert unet_output_size(size, depth=depth, padding=padding) == expected
        return
    larger = size
    while walk(larger, depth, lost) is None:
        larger += 1
    with pytest.raises(ShapeError) as error:
        unet_output_size(size, depth=depth, padding=padding)
    assert error.value.fix is not None
    assert error.value.fix.endswith(f": {larger}.")


@pytest.mark.parametrize("size", [44, 60])
def test_the_network_gives_the_size_said(size: int) -> None:
    assert UNet(width=2, depth=2)(torch.zeros(1, 1, size, size)).shape[-1] == unet_output_size(size, depth=2)


def test_a_size_that_does_not_fit_is_refused_before_anything_is_computed() -> None:
    with pytest.raises(ShapeError, match="A side of 18 pixels"):
        UNet(width=2, depth=2, padding="same")(torch.zeros(1, 1, 16, 18))


def test_the_middle_is_cut() -> None:
    x = torch.arange(36).reshape(1, 1, 6, 6)
    assert torch.equal(centre_crop(x, torch.Size((2, 4))), x[..., 2:4, 1:5])


def test_an_output_pixel_of_the_valid_form_sees_what_it_should() -> None:
    model, line = UNet(width=2, depth=1).eval(), torch.arange(1.0, 21.0)
    x = (line + line[:, None])[None, None].requires_grad_()  # rising, so that a pool takes its last
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.1)  # nothing cancels, no ReLU is off
    model(x)[0, 0, 0, 0].backward()
    assert x.grad is not None
    # By hand, along a side: 0..4 of the joined map; of those 4..12 of the image by the copy; by the detour 0..2 of the
    # bottom's output, 0..6 of its input, the later of each two of 0..13 before the pool, 1..17 of the image.
    seen = x.grad[0, 0].nonzero()
    assert (seen.min().item(), seen.max().item()) == (1, 17)
