"""The image models compute what torchvision's do with the same weights; skipped where it is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from trainworthy.parts.models.alexnet import AlexNet
from trainworthy.parts.models.convnext import ConvNeXt
from trainworthy.parts.models.googlenet import GoogLeNet
from trainworthy.parts.models.resnet import ResNet
from trainworthy.parts.models.vgg import VGG

models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")

PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module], int]] = {
    "alexnet": (AlexNet, models.alexnet, 80),
    "vgg11-bn": (lambda: VGG(11, batch_norm=True), models.vgg11_bn, 64),
    "googlenet": (
        GoogLeNet, lambda: models.googlenet(transform_input=False, aux_logits=True, init_weights=False), 64,
    ),
    "resnet18": (lambda: ResNet(18), models.resnet18, 64),
    "resnet50": (lambda: ResNet(50), models.resnet50, 64),
    "convnext-t": (ConvNeXt, models.convnext_tiny, 64),
}  # fmt: skip


def with_weights_of(mine: nn.Module, theirs: nn.Module) -> None:
    """Copy in the order of the modules, each shape to the next of its kind; theirs are made larger than they begin."""
    for parameter in theirs.parameters():
        if parameter.dim() == 1:
            nn.init.uniform_(parameter, 0.5, 1.5)  # norms, biases and layer scales that are seen
    own, other = mine.state_dict(), list(theirs.state_dict().values())
    if isinstance(mine, ConvNeXt):  # its blocks name their scale first; here it comes after the layers
        other = [value for value in other if value.dim() != 3]
        scales = iter([value for value in theirs.state_dict().values() if value.dim() == 3])
        for name in own:
            if name.endswith(".scale"):
                own[name] = next(scales).flatten()
    names = [name for name in own if not (isinstance(mine, ConvNeXt) and name.endswith(".scale"))]
    assert [own[name].shape for name in names] == [value.shape for value in other]
    mine.load_state_dict({**own, **dict(zip(names, other, strict=True))})


@pytest.mark.parametrize("name", PAIRS)
def test_outputs_are_the_same(name: str) -> None:
    torch.manual_seed(0)
    make, make_theirs, size = PAIRS[name]
    mine, theirs, x = make(), make_theirs(), torch.randn(2, 3, size, size)
    with_weights_of(mine, theirs)
    with torch.no_grad():
        got: Any = mine.eval()(x)
        want: Any = theirs.eval()(x)
    logits = got.logits if isinstance(mine, GoogLeNet) else got
    torch.testing.assert_close(logits, want, rtol=1e-4, atol=1e-4 * want.abs().max().item())


def test_heads_are_the_same_in_training() -> None:
    torch.manual_seed(0)
    mine, theirs = GoogLeNet(dropout=0.0, head_dropout=0.0), models.googlenet(aux_logits=True, init_weights=False)
    with_weights_of(mine, theirs)
    for module in theirs.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    x = torch.randn(2, 3, 64, 64)
    got, want = mine(x), theirs(x)
    for one, other in ((got.logits, want.logits), (got.early, want.aux_logits1), (got.late, want.aux_logits2)):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * other.abs().max().item())
