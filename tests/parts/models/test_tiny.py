"""Every model exists in a size that a CPU runs: it trains, every parameter gets a gradient, evaluation repeats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainworthy.errors import UsageError
from trainworthy.parts.models.alexnet import AlexNet
from trainworthy.parts.models.convnext import ConvNeXt, ConvNeXtBlock
from trainworthy.parts.models.dcgan import Discriminator, Gan, Generator, latent_noise
from trainworthy.parts.models.fcn import FCN
from trainworthy.parts.models.googlenet import GoogLeNet, Inception
from trainworthy.parts.models.layers import RandomSkip
from trainworthy.parts.models.mlp import TabularMLP
from trainworthy.parts.models.protein import AlignmentPairs, ProteinEncoder
from trainworthy.parts.models.resnet import ResidualBlock, ResNet
from trainworthy.parts.models.unet import UNet
from trainworthy.parts.models.vae import Vae
from trainworthy.parts.models.vgg import VGG
from trainworthy.parts.module import count_parameters, module_names

IMAGES: dict[str, Any] = {"classes": 10, "channels": 1}
TINY: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "alexnet": (lambda: AlexNet(**IMAGES, width=8, hidden=32, pooled=1, stem="small"), (2, 1, 8, 8)),
    "vgg": (lambda: VGG(11, **IMAGES, width=4, hidden=32, pooled=1, pools=3, batch_norm=True), (2, 1, 8, 8)),
    "googlenet": (lambda: GoogLeNet(**IMAGES, scale=0.125, hidden=32, stem="small"), (2, 1, 8, 8)),
    "googlenet of the paper": (
        lambda: GoogLeNet(**IMAGES, scale=0.125, hidden=32, stem="small", form="paper"), (2, 1, 8, 8)
    ),
    "resnet": (lambda: ResNet(18, **IMAGES, width=4, stem="small"), (2, 1, 8, 8)),
    "resnet with bottlenecks": (lambda: ResNet(50, **IMAGES, width=4, stem="small"), (2, 1, 8, 8)),
    "convnext": (lambda: ConvNeXt(**IMAGES, depths=(1, 2), width=8, patch=2, skip=0.0), (2, 1, 8, 8)),
    "unet": (lambda: UNet(channels=1, width=4, depth=2, padding="same", batch_norm=True), (2, 1, 16, 16)),
    "unet, valid": (lambda: UNet(channels=1, width=4, depth=2), (1, 1, 44, 44)),
    "generator": (lambda: Generator(size=8, channels=1, width=4, latent=5), (2, 5)),
    "discriminator": (lambda: Discriminator(size=8, channels=1, width=4, batch_norm=False), (2, 1, 8, 8)),
    "vae": (lambda: Vae(shape=(1, 8, 8), latent=2, hidden=(16, 8)), (2, 1, 8, 8)),
    "mlp": (lambda: TabularMLP(numeric=3, outputs=2, dropout=0.1), (4, 3)),
}  # fmt: skip


def total(out: Tensor | tuple[Any, ...] | None) -> Tensor:
    if out is None:
        return torch.zeros(())
    return out.square().sum() if isinstance(out, Tensor) else sum((total(part) for part in out), torch.zeros(()))


@pytest.mark.parametrize("name", TINY)
def test_every_parameter_gets_a_gradient_and_evaluation_repeats(name: str) -> None:
    torch.manual_seed(0)
    make, size = TINY[name]
    model, x = make(), torch.randn(size)
    assert count_parameters(model) < 400_000
    total(model(x)).backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert sum(p.grad.abs().sum().item() for p in model.parameters() if p.grad is not None) > 0
    model.eval()
    assert torch.equal(total(model(x)), total(model(x)))
    again = make().eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(total(again(x)), total(model(x)))


def test_googlenet_has_its_heads_in_training_only() -> None:
    model, x = GoogLeNet(**IMAGES, scale=0.125, hidden=32, stem="small"), torch.randn(2, 1, 8, 8)
    out = model(x)
    assert out.early is not None
    assert out.late is not None
    assert out.early.shape == out.late.shape == out.logits.shape == (2, 10)
    assert model.eval()(x)[1:] == (None, None)
    assert GoogLeNet(**IMAGES, scale=0.125, heads=False, stem="small")(x).early is None


def test_blocks_are_found_by_their_kind() -> None:
    assert module_names(ResNet(18, width=4), ResidualBlock) == [f"blocks.{index}" for index in range(8)]
    assert len(module_names(GoogLeNet(scale=0.125), Inception)) == 9
    assert len(module_names(ConvNeXt(width=8), ConvNeXtBlock)) == 18


def test_a_residual_network_can_begin_as_the_identity() -> None:
    block = ResNet(18, width=4, zero_residual=True).blocks[0]
    x = torch.randn(2, 4, 5, 5).relu()
    assert torch.equal(block(x), x)


def test_random_skip_keeps_the_expectation_and_drops_whole_samples() -> None:
    torch.manual_seed(0)
    skip, x = RandomSkip(0.25), torch.ones(4000, 3)
    out = skip(x)
    assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(out[:, 0], out[:, 1])
    assert out.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(skip.eval()(x), x)


def test_the_stochastic_depth_of_convnext_rises_to_its_last_block() -> None:
    skips = [module.drop for module in ConvNeXt("tiny", width=8).modules() if isinstance(module, RandomSkip)]
    assert skips[0] == 0
    assert skips[-1] == pytest.approx(0.1)
    assert skips == sorted(skips)


def test_a_gan_is_one_module_with_two_sets_of_parameters() -> None:
    gan = Gan(Generator(size=8, channels=1, width=4, latent=5), Discriminator(size=8, channels=1, width=4))
    images = gan(latent_noise(torch.zeros(3, 1, 8, 8), latent=5))
    assert images.shape == (3, 1, 8, 8)
    assert gan.discriminator(images).shape == (3,)
    names = {name.split(".")[0] for name, _ in gan.named_parameters()}
    assert names == {"generator", "discriminator"}
    assert images.abs().max() <= 1


def test_dcgan_begins_as_published() -> None:
    torch.manual_seed(0)
    weights = torch.cat([p.flatten() for n, p in Generator().named_parameters() if p.dim() == 4])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VGG(12), "no VGG of depth 12"),
        (lambda: ResNet(20), "no ResNet of depth 20"),
        (lambda: ConvNeXt("huge"), "no ConvNeXt of size 'huge'"),  # type: ignore[arg-type]
        (lambda: FCN(4), "no FCN-4s"),  # type: ignore[arg-type]
        (lambda: FCN(8, kernel=2), "kernel is 2; it must be odd"),
        (lambda: Generator(size=20), "size is 20; it must be a power of two"),
        (lambda: Discriminator(size=4), "size is 4; it must be a power of two"),
    ],
)
def test_what_there_is_not_is_said(make: Callable[[], nn.Module], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make()


def test_protein_models_train() -> None:
    torch.manual_seed(0)
    tokens = torch.tensor([[3, 4, 5], [6, 7, 0]])
    encoder = ProteinEncoder(tokens=9, pad=0, width=8, blocks=1, heads=2, residue_classes=3, sequence_classes=2)
    pairs = AlignmentPairs(tokens=9, pad=0, width=8, inner=4, pair_width=6, classes=2)
    total(encoder(tokens)).backward()
    pairs(tokens[None]).square().sum().backward()
    for model in (encoder, pairs):
        assert [n for n, p in model.named_parameters() if p.grad is None] == []
