"""Image models with published sizes: a row a model.

Where the figures come from
---------------------------
torchvision
    The "Params" and "GFLOPS" columns of https://docs.pytorch.org/vision/stable/models.html, with
    three decimals as in `num_params` and `_ops` of each weight's metadata. That GFLOPS column holds
    multiply-adds, not FLOPs: of convolutions, linear layers and the two matrix products of
    attention, for one image at the size of the row. For Inception-v3 the parameters include the
    auxiliary classifier and the multiply-adds do not (it runs only in training); for FCN both
    include the auxiliary head; for GoogLeNet neither has the auxiliary classifiers.
timm
    `infer_gmacs` of results/benchmark-infer-amp-nhwc-pt240-cu124-rtx3090.csv in
    https://github.com/huggingface/pytorch-image-models, two decimals. fvcore's weights explain
    them: 2 more for each output of a batch norm, 5 for each output of a layer norm, 1 for each
    input of an adaptive average pool. `count.fvcore_extra` adds those, and then every row agrees.
unet
    https://github.com/milesial/Pytorch-UNet/issues/477: 31.037698 M parameters and, from thop at
    3 x 420 x 240, 83.922432 G. thop counts a transposed convolution by its outputs (4 times too
    much at stride 2) and 4 for each output of a batch norm; with these two the figure comes out to
    the last digit. The row has the multiply-adds that are carried out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from zoo import classic, convnext, densenet, inception, mobile, resnet, transformer, unet

TORCHVISION = "torchvision"
UNET = "unet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One model and what was published about it; see the module docstring for the sources."""

    name: str
    build: Callable[[], nn.Module]
    input_size: tuple[int, int, int]  # channels, height, width
    parameters: int
    macs: int  # ours, exact: convolutions, linear layers, attention products; batch of one
    gmacs: float | None  # as published, 3 decimals; None: not published in this convention
    timm_gmacs: float | None = None  # as published, 2 decimals, in fvcore's convention
    source: str = TORCHVISION


def _row(
    name: str,
    build: Callable[[], nn.Module],
    parameters: int,
    macs: int,
    gmacs: float,
    *,
    timm_gmacs: float | None = None,
    size: int = 224,
) -> Published:
    return Published(
        name=name,
        build=build,
        input_size=(3, size, size),
        parameters=parameters,
        macs=macs,
        gmacs=gmacs,
        timm_gmacs=timm_gmacs,
    )


MODELS: tuple[Published, ...] = (
    _row("alexnet", classic.alexnet, 61_100_840, 714_188_480, 0.714),
    _row("vgg11", partial(classic.vgg, 11), 132_863_336, 7_609_090_048, 7.609),
    _row("vgg13", partial(classic.vgg, 13), 133_047_848, 11_308_466_176, 11.308, timm_gmacs=11.31),
    _row("vgg16", partial(classic.vgg, 16), 138_357_544, 15_470_264_320, 15.470, timm_gmacs=15.47),
    _row("vgg19", partial(classic.vgg, 19), 143_667_240, 19_632_062_464, 19.632, timm_gmacs=19.63),
    _row("vgg11_bn", partial(classic.vgg, 11, batch_norm=True), 132_868_840, 7_609_090_048, 7.609),
    _row("vgg16_bn", partial(classic.vgg, 16, batch_norm=True), 138_365_992, 15_470_264_320, 15.470, timm_gmacs=15.5),
    _row("googlenet", inception.googlenet, 6_624_904, 1_498_376_192, 1.498),
    _row("inception_v3", inception.InceptionV3, 27_161_264, 5_713_216_096, 5.713, timm_gmacs=5.73, size=299),
    _row("resnet18", partial(resnet.resnet, 18), 11_689_512, 1_814_073_344, 1.814, timm_gmacs=1.82),
    _row("resnet34", partial(resnet.resnet, 34), 21_797_672, 3_663_761_408, 3.664, timm_gmacs=3.67),
    _row("resnet50", partial(resnet.resnet, 50), 25_557_032, 4_089_184_256, 4.089, timm_gmacs=4.11),
    _row("resnet101", partial(resnet.resnet, 101), 44_549_160, 7_801_405_440, 7.801, timm_gmacs=7.83),
    _row("resnet152", partial(resnet.resnet, 152), 60_192_808, 11_513_626_624, 11.514, timm_gmacs=11.56),
    _row(
        "resnext50_32x4d",
        partial(resnet.resnet, 50, groups=32, group_width=4),
        25_028_904,
        4_230_479_872,
        4.230,
        timm_gmacs=4.26,
    ),
    _row(
        "wide_resnet50_2",
        partial(resnet.resnet, 50, group_width=128),
        68_883_240,
        11_398_021_120,
        11.398,
        timm_gmacs=11.43,
    ),
    _row("squeezenet1_0", partial(classic.squeezenet, "1.0"), 1_248_424, 818_924_576, 0.819),
    _row("squeezenet1_1", partial(classic.squeezenet, "1.1"), 1_235_496, 349_151_936, 0.349),
    _row("densenet121", partial(densenet.densenet, 121), 7_978_856, 2_834_161_664, 2.834, timm_gmacs=2.87),
    _row("densenet161", partial(densenet.densenet, 161), 28_681_000, 7_727_907_072, 7.728, timm_gmacs=7.79),
    _row("densenet169", partial(densenet.densenet, 169), 14_149_480, 3_359_843_328, 3.360, timm_gmacs=3.4),
    _row("densenet201", partial(densenet.densenet, 201), 20_013_928, 4_291_365_888, 4.291, timm_gmacs=4.34),
    _row("mobilenet_v2", mobile.mobilenet_v2, 3_504_872, 300_774_272, 0.301, timm_gmacs=0.31),
    _row("mobilenet_v3_large", partial(mobile.mobilenet_v3, "large"), 5_483_032, 216_589_760, 0.217, timm_gmacs=0.23),
    _row("mobilenet_v3_small", partial(mobile.mobilenet_v3, "small"), 2_542_856, 56_510_400, 0.057, timm_gmacs=0.06),
    _row("shufflenet_v2_x1_0", mobile.shufflenet_v2, 2_278_604, 144_907_992, 0.145),
    _row("mnasnet1_0", mobile.mnasnet, 4_383_312, 314_415_872, 0.314, timm_gmacs=0.33),
    _row("efficientnet_b0", mobile.efficientnet_b0, 5_288_548, 385_814_752, 0.386, timm_gmacs=0.4),
    _row("regnet_y_400mf", resnet.regnet_y_400mf, 4_344_144, 401_842_848, 0.402, timm_gmacs=0.41),
    _row("convnext_tiny", partial(convnext.convnext, "tiny"), 28_589_128, 4_455_531_264, 4.456, timm_gmacs=4.47),
    _row("convnext_small", partial(convnext.convnext, "small"), 50_223_688, 8_683_712_256, 8.684, timm_gmacs=8.71),
    _row("vit_b_16", transformer.ViT, 86_567_656, 17_563_828_224, 17.564, timm_gmacs=17.58),
    _row("swin_t", transformer.Swin, 28_288_354, 4_490_566_656, 4.491, timm_gmacs=4.51),
    _row("fcn_resnet50", resnet.FCN, 35_322_218, 152_716_512_000, 152.717, size=520),
    Published(
        name="unet",
        build=unet.UNet,
        input_size=(3, 420, 240),
        parameters=31_037_698,
        macs=73_863_966_720,
        gmacs=None,
        source=UNET,
    ),
)

BY_NAME: dict[str, Published] = {row.name: row for row in MODELS}
