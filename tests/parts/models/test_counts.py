"""Published parameter counts, exact, and the shapes of layers; on the meta device, so that nothing is computed.

Sources: the ``num_params`` of torchvision 0.28's weights (AlexNet, VGG, ResNet, ConvNeXt, GoogLeNet without heads);
torchvision's tests for GoogLeNet with heads (13,004,888); Caffe's bvlc_googlenet (6,998,552; 13,378,280 with heads);
pytorch/examples dcgan; Hugging Face's gpt2 and gpt2-medium. U-Net and FCN are counted by hand beside the figures.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from trainworthy.parts.models.alexnet import AlexNet
from trainworthy.parts.models.convnext import ConvNeXt
from trainworthy.parts.models.dcgan import Discriminator, Generator
from trainworthy.parts.models.decoder import Decoder
from trainworthy.parts.models.fcn import FCN
from trainworthy.parts.models.googlenet import GoogLeNet
from trainworthy.parts.models.protein import OuterProductMean
from trainworthy.parts.models.resnet import ResNet
from trainworthy.parts.models.seq2seq import Seq2Seq
from trainworthy.parts.models.unet import UNet
from trainworthy.parts.models.vgg import VGG
from trainworthy.parts.module import count_parameters

VGG16_FEATURES = 14_714_688
CLASSIFIER_32S = (7 * 7 * 512 * 4096 + 4096) + (4096 * 4096 + 4096) + (4096 * 21 + 21)
SKIP_16, SKIP_8, TWICE = 512 * 21 + 21, 256 * 21 + 21, 21 * 21 * 4 * 4

COUNTS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "alexnet": (AlexNet, 61_100_840),
    "vgg11": (lambda: VGG(11), 132_863_336),
    "vgg11-bn": (lambda: VGG(11, batch_norm=True), 132_868_840),
    "vgg13": (lambda: VGG(13), 133_047_848),
    "vgg13-bn": (lambda: VGG(13, batch_norm=True), 133_053_736),
    "vgg16": (lambda: VGG(16), 138_357_544),
    "vgg16-bn": (lambda: VGG(16, batch_norm=True), 138_365_992),
    "vgg19": (lambda: VGG(19), 143_667_240),
    "vgg19-bn": (lambda: VGG(19, batch_norm=True), 143_678_248),
    "googlenet": (GoogLeNet, 13_004_888),
    "googlenet without heads": (lambda: GoogLeNet(heads=False), 6_624_904),
    "googlenet of the paper": (lambda: GoogLeNet(form="paper"), 13_378_280),
    "googlenet of the paper without heads": (lambda: GoogLeNet(form="paper", heads=False), 6_998_552),
    "resnet18": (lambda: ResNet(18), 11_689_512),
    "resnet34": (lambda: ResNet(34), 21_797_672),
    "resnet50": (lambda: ResNet(50), 25_557_032),
    "resnet101": (lambda: ResNet(101), 44_549_160),
    "resnet152": (lambda: ResNet(152), 60_192_808),
    "convnext-t": (ConvNeXt, 28_589_128),
    "convnext-s": (lambda: ConvNeXt("small"), 50_223_688),
    "convnext-b": (lambda: ConvNeXt("base"), 88_591_464),
    "convnext-l": (lambda: ConvNeXt("large"), 197_767_336),
    # 31,031,685 is Keras's: it ends in 3 x 3 to 2 channels (64 * 2 * 9 + 2) and 1 x 1 to 1 (2 + 1), not 1 x 1 to 2.
    "unet": (UNet, 31_031_685 - (64 * 2 * 9 + 2) - (2 + 1) + (64 * 2 + 2)),
    "fcn32s": (lambda: FCN(32), VGG16_FEATURES + CLASSIFIER_32S + 21 * 21 * 64 * 64),
    "fcn16s": (lambda: FCN(16), VGG16_FEATURES + CLASSIFIER_32S + SKIP_16 + TWICE + 21 * 21 * 32 * 32),
    "fcn8s": (lambda: FCN(8), VGG16_FEATURES + CLASSIFIER_32S + SKIP_16 + SKIP_8 + 2 * TWICE + 21 * 21 * 16 * 16),
    "dcgan generator": (Generator, 3_576_704),
    "dcgan discriminator": (Discriminator, 2_765_568),
    "gpt2": (Decoder, 124_439_808),
    "gpt2-medium": (lambda: Decoder(width=1024, blocks=24, heads=16), 354_823_168),
    # Table 3 of Vaswani et al. says 65 million; nn.Transformer has 44,140,544, two last norms among them.
    "transformer-base": (lambda: Seq2Seq(vocabulary=37000, pad=0), 44_140_544 - 2 * 1024 + 37000 * 512),
    # By hand: a norm of 256, two projections to 32, 1024 to 128.
    "alphafold outer product mean": (OuterProductMean, 2 * 256 + 2 * (256 * 32 + 32) + (32 * 32 * 128 + 128)),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_as_published(name: str) -> None:
    make, expected = COUNTS[name]
    with torch.device("meta"):
        assert count_parameters(make()) == expected


SHAPES: list[tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, tuple[int, ...]]]] = [
    (AlexNet, (1, 3, 224, 224), {"features.0": (1, 64, 55, 55), "features": (1, 256, 6, 6)}),
    (VGG, (1, 3, 224, 224), {f"features.{i}": (1, c, s, s) for i, (c, s) in enumerate(
        [(64, 112), (128, 56), (256, 28), (512, 14), (512, 7)])}),
    # Table 1 of the paper: the column "output size".
    (lambda: GoogLeNet(form="paper"), (1, 3, 224, 224), {
        "stem.0": (1, 64, 112, 112), "stem.1": (1, 64, 56, 56), "stem.4": (1, 192, 56, 56), "stem": (1, 192, 28, 28),
        "blocks.3a": (1, 256, 28, 28), "blocks.3b": (1, 480, 28, 28), "blocks.4a": (1, 512, 14, 14),
        "blocks.4d": (1, 528, 14, 14), "blocks.4e": (1, 832, 14, 14), "blocks.5b": (1, 1024, 7, 7),
        "early": (1, 1000), "late": (1, 1000)}),
    (lambda: ResNet(50), (1, 3, 224, 224), {
        "stem": (1, 64, 56, 56), "blocks.2": (1, 256, 56, 56), "blocks.6": (1, 512, 28, 28),
        "blocks.12": (1, 1024, 14, 14), "blocks.15": (1, 2048, 7, 7)}),
    (ConvNeXt, (1, 3, 224, 224), {"features.0": (1, 96, 56, 56), "features": (1, 768, 7, 7)}),
    # Figure 1 of the paper: 572 -> 568, 284 -> 280, 140 -> 136, 68 -> 64, 32 -> 28; up to 388.
    (UNet, (1, 1, 572, 572), {
        "down.0": (1, 64, 568, 568), "down.1": (1, 128, 280, 280), "down.2": (1, 256, 136, 136),
        "down.3": (1, 512, 64, 64), "down.4": (1, 1024, 28, 28), "raise_.0": (1, 512, 56, 56), "up.0": (1, 512, 52, 52),
        "up.1": (1, 256, 100, 100), "up.2": (1, 128, 196, 196), "up.3": (1, 64, 388, 388),
        "classifier": (1, 2, 388, 388)}),
    # By hand: (500 + 198) halved five times, rounded up, is 22; 22 - 6; then 2 n + 2 twice, 8 n + 8 at the end.
    (FCN, (1, 3, 500, 500), {
        "scores": (1, 21, 16, 16), "skips.0": (1, 21, 44, 44), "enlarge.0": (1, 21, 34, 34),
        "enlarge.1": (1, 21, 70, 70), "enlarge_last": (1, 21, 568, 568)}),
    (Generator, (1, 100), {"layers.0": (1, 512, 4, 4), "layers.9": (1, 64, 32, 32), "layers": (1, 3, 64, 64)}),
    (Discriminator, (1, 3, 64, 64), {"layers.0": (1, 64, 32, 32), "layers.8": (1, 512, 4, 4)}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "size", "expected"), SHAPES, ids=lambda value: getattr(value, "__name__", None))
def test_layers_have_the_published_shapes(
    make: Callable[[], nn.Module], size: tuple[int, ...], expected: dict[str, tuple[int, ...]]
) -> None:
    seen: dict[str, tuple[int, ...]] = {}
    with torch.device("meta"):
        model = make()
        for name in expected:
            model.get_submodule(name).register_forward_hook(
                lambda _, __, out, name=name: seen.update({name: tuple(out.shape)})
            )
        model(torch.zeros(size))
    assert seen == expected
