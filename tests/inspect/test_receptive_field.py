"""Receptive fields: published ones, and gradients of real networks as oracle."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainworthy.formulas.receptive_field import Field, grow
from trainworthy.inspect.receptive_field import LayerField, receptive_fields
from trainworthy.inspect.summary import measured_step
from trainworthy.tape.recorder import Recorder


def test_published_fields_of_alexnet() -> None:
    # Araujo et al. 2019, appendix: AlexNet (v2) ends with a field of 195 pixels and a stride of 32.
    layers = [(11, 4, 0), (3, 2, 0), (5, 1, 2), (3, 2, 0), (3, 1, 1), (3, 1, 1), (3, 1, 1), (3, 2, 0)]
    field = Field()
    for kernel, stride, padding in layers:
        field = grow(field=field, kernel=kernel, stride=stride, padding=padding)
    assert (field.size, field.jump) == (195, 32)


def test_published_fields_of_vgg16() -> None:
    # Same source: VGG-16 has a field of 212 pixels and a stride of 32 after its last pooling.
    field = Field()
    for convolutions in (2, 2, 3, 3, 3):
        for _ in range(convolutions):
            field = grow(field=field, kernel=3, stride=1, padding=1)
        field = grow(field=field, kernel=2, stride=2, padding=0)
    assert (field.size, field.jump) == (212, 32)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 5, stride=2, padding=2)
        self.a = nn.Conv2d(2, 2, 3, padding=1)
        self.b = nn.Conv2d(2, 2, 3, padding=2, dilation=2)
        self.short = nn.Conv2d(2, 2, 1)
        self.pool = nn.AvgPool2d(2)
        self.last = nn.Conv2d(4, 1, (3, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.short(x) + self.b(torch.relu(self.a(x)))
        out: torch.Tensor = self.last(self.pool(torch.cat([x, x], dim=1)))
        return out


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 7, stride=2, padding=3), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3, padding="same"),
    )  # fmt: skip


def fields_of(net: nn.Module, image: torch.Tensor) -> tuple[LayerField, ...]:
    with Recorder() as recorder:
        net(image).sum().backward()
    tape = recorder.tape(device="cpu", granularity_bytes=1)
    return receptive_fields(tape, measured_step(tape))


def seen_by(net: nn.Module, image: torch.Tensor, place: tuple[int, int]) -> tuple[range, range]:
    """Find by gradients which pixels an output depends on, with weights that cannot cancel."""
    for parameter in net.parameters():
        nn.init.uniform_(parameter, 0.1, 1.0)
    for module in net.modules():
        if isinstance(module, nn.MaxPool2d):  # a maximum has a gradient in one place only
            module.forward = nn.AvgPool2d(module.kernel_size, module.stride, module.padding).forward  # type: ignore[method-assign]
    image = image.clone().requires_grad_()
    net(image)[0, 0, place[0], place[1]].backward()
    assert image.grad is not None
    touched = image.grad[0, 0].nonzero()
    (top, left), (bottom, right) = touched.min(0).values.tolist(), touched.max(0).values.tolist()
    return range(top, bottom + 1), range(left, right + 1)


@pytest.mark.parametrize("net", [plain(), Residual()], ids=["plain", "residual"])
def test_agrees_with_gradients(net: nn.Module) -> None:
    image = torch.rand(1, 1, 96, 96)
    last = fields_of(net, image)[-1]
    place = (last.output_shape[2] // 2, last.output_shape[3] // 2)
    for field, at, seen in zip(last.fields, place, seen_by(net, image, place), strict=True):
        assert range(field.low + at * field.jump, field.high + at * field.jump + 1) == seen


def test_after_a_matrix_product_nothing_is_claimed() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 64, 64), nn.Unflatten(1, (1, 8, 8)),
                        nn.Conv2d(1, 1, 3))  # fmt: skip
    assert [layer.path for layer in fields_of(net, torch.rand(2, 1, 8, 8))] == ["0"]


def test_upsampling_and_transposed_convolutions_are_left_out() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ConvTranspose2d(2, 2, 2, stride=2), nn.Conv2d(2, 1, 3))
    assert [layer.path for layer in fields_of(net, torch.rand(1, 1, 16, 16))] == ["0"]


def test_a_net_without_convolutions_has_none() -> None:
    assert fields_of(nn.Linear(3, 3), torch.rand(2, 3)) == ()
