"""FCN: the authors' crop offsets, bilinear enlarging, any size of image, scores where the image has them."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from trainworthy.errors import ShapeError
from trainworthy.parts.models.fcn import FCN, Grid, Padding, Stride, bilinear_upsampling, crop_offsets


def test_offsets_are_those_of_the_authors() -> None:
    # voc-fcn32s, voc-fcn16s and voc-fcn8s train.prototxt: crop_param { offset }
    assert crop_offsets(32) == (19,)
    assert crop_offsets(16) == (5, 27)
    assert crop_offsets(8) == (5, 9, 31)


@pytest.mark.parametrize("factor", [2, 8])
def test_enlarging_begins_as_interpolation(factor: int) -> None:
    x = torch.randn(1, 3, 5, 6)
    out = bilinear_upsampling(3, factor)(x)
    cut = factor // 2
    inner = out[..., cut:-cut, cut:-cut]
    want = F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    assert inner.shape == want.shape
    edge = factor  # at the border F.interpolate repeats the last value, a convolution sees zeros
    torch.testing.assert_close(inner[..., edge:-edge, edge:-edge], want[..., edge:-edge, edge:-edge])


@pytest.mark.parametrize("padding", ["published", "same"])
@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("size", [(17, 20), (32, 64), (45, 70)])
def test_any_image_gets_a_score_a_pixel(size: tuple[int, int], stride: Stride, padding: Padding) -> None:
    with torch.device("meta"):
        model = FCN(stride, classes=3, channels=1, depth=11, width=2, hidden=4, kernel=3, padding=padding)
        assert model(torch.zeros(2, 1, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_scores_lie_where_the_image_has_what_they_are_of(stride: Stride) -> None:
    """A step in the scores of the finest map must come out in the middle between its two pixels."""
    model = FCN(stride, classes=1, channels=1, depth=11, width=2, hidden=4, kernel=1, padding="same").eval()
    for layer in (model.scores[-1], *model.skips):
        torch.nn.init.zeros_(layer.bias)
    finest = model.skips[-1] if len(model.skips) else model.scores[-1]

    def step(_: object, __: object, out: torch.Tensor) -> torch.Tensor:
        values = torch.zeros_like(out)
        values[..., out.shape[-1] // 2 :] = 1
        return values

    finest.register_forward_hook(step)
    with torch.no_grad():
        row = model(torch.zeros(1, 1, 128, 128))[0, 0, 64]
    assert row[63] + row[64] == pytest.approx(1.0, abs=1e-5)
    assert row[64] > row[63]


def test_every_parameter_gets_a_gradient_after_one_step() -> None:
    torch.manual_seed(0)
    model = FCN(8, classes=3, channels=1, depth=11, width=2, hidden=8, kernel=1, padding="same", dropout=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(2, 1, 32, 32), torch.randint(3, (2, 32, 32))
    for _ in range(2):  # scores begin at 0: what is before them gets its first gradient in the second step
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []
    assert all(stage[0].weight.grad.abs().sum() > 0 for stage in model.stages)  # type: ignore[index]


def test_a_grid_that_does_not_fall_on_another_is_refused() -> None:
    with pytest.raises(ShapeError, match="no elements in common"):
        Grid(2.0, 0.5).offset_in(Grid(2.0, 0.0))
