"""The models of the FLOP comparison, each with its input and its multiply-adds from a source that is not a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import closed_forms
from benchmarks.closed_forms import Macs

# A family each; tests/truth/test_published_models.py holds trainworthy to all that the table has.
IMAGE_MODELS = (
    "alexnet", "vgg16", "googlenet", "inception_v3", "resnet18", "resnet50", "resnext50_32x4d", "squeezenet1_1",
    "densenet121", "mobilenet_v2", "mobilenet_v3_large", "shufflenet_v2_x1_0", "efficientnet_b0", "convnext_tiny",
    "vit_b_16", "swin_t", "unet",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """``build`` returns the module, ``inputs`` its arguments on a device, ``truth`` the multiply-adds."""

    name: str
    build: Callable[[], Any]
    inputs: Callable[[str], tuple[Any, ...]]
    truth: Macs
    source: str


def models() -> list[Model]:
    """List all of them; torch and transformers are imported here and not before."""
    return [*_published(), *_conv_nets(), *_transformers(), _lstm()]


def _published() -> list[Model]:
    import torch

    from zoo.published import BY_NAME

    def image(size: tuple[int, int, int]) -> Callable[[str], tuple[Any, ...]]:
        return lambda device: (torch.zeros(1, *size, device=device),)

    return [
        Model(
            name=row.name, build=row.build, inputs=image(row.input_size),
            truth=closed_forms.of(row.macs, not_wanted=_stem_macs(row)),
            source=f"published ({row.source})",
        )
        for row in (BY_NAME[name] for name in IMAGE_MODELS)
    ]  # fmt: skip


def _stem_macs(row: Any) -> int:
    """Count the first convolution, the only one whose input is data: from its shape, as written in the papers."""
    from torch import nn

    from zoo.count import build_on_meta

    stem = next(m for m in build_on_meta(row.build).modules() if isinstance(m, nn.Conv2d))
    _, height, width = row.input_size
    assert isinstance(stem.padding, tuple)
    positions = tuple(
        (size + 2 * pad - kernel) // stride + 1
        for size, pad, kernel, stride in zip((height, width), stem.padding, stem.kernel_size, stem.stride, strict=True)
    )
    assert stem.in_channels == 3
    return closed_forms.conv(1, 3, stem.out_channels, stem.kernel_size, positions)


def _conv_nets() -> list[Model]:
    import torch
    from torch import nn

    def grouped() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(32, 64, 3, padding=1, groups=8), nn.ReLU(), nn.Conv2d(64, 64, 3, 2, 1, groups=64), nn.ReLU(),
            nn.Conv2d(64, 128, 1), nn.ReLU(), nn.Conv2d(128, 128, 3, padding=2, dilation=2, groups=4),
        )  # fmt: skip

    def transposed() -> nn.Module:
        return nn.Sequential(
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 16, 2, 2, groups=4), nn.ReLU(),
            nn.Conv2d(16, 3, 3, padding=1),
        )  # fmt: skip

    def three_d() -> nn.Module:
        return nn.Sequential(nn.Conv3d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv3d(16, 32, 3, 2, 1))

    rows = [
        ("grouped_convs", grouped, (8, 32, 56, 56), closed_forms.grouped_net()),
        ("transposed_convs", transposed, (4, 64, 14, 14), closed_forms.transposed_net()),
        ("conv3d", three_d, (2, 3, 16, 32, 32), closed_forms.conv3d_net()),
    ]
    return [
        Model(
            name=name, build=build, truth=truth, source="closed form",
            inputs=lambda device, shape=shape: (torch.zeros(shape, device=device),),  # type: ignore[misc]
        )
        for name, build, shape, truth in rows
    ]  # fmt: skip


def _transformers() -> list[Model]:
    import torch
    from torch import nn
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    def encoder() -> nn.Module:
        layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True)
        return nn.TransformerEncoder(layer, 2)

    def gpt2() -> Any:
        return GPT2LMHeadModel(GPT2Config(use_cache=False))

    def llama() -> Any:
        config = LlamaConfig(
            hidden_size=1024, intermediate_size=2816, num_hidden_layers=8, num_attention_heads=16,
            num_key_value_heads=4, vocab_size=32000, max_position_embeddings=512, use_cache=False,
        )  # fmt: skip
        return LlamaForCausalLM(config)

    def tokens(count: int) -> Callable[[str], tuple[Any, ...]]:
        return lambda device: (torch.zeros(1, count, dtype=torch.int64, device=device),)

    return [
        Model(name="transformer_encoder", build=encoder, source="closed form", truth=closed_forms.encoder(),
              inputs=lambda device: (torch.zeros(4, 128, 256, device=device),)),
        Model(name="gpt2_124m", build=gpt2, inputs=tokens(1024), truth=closed_forms.gpt2(), source="closed form"),
        Model(name="llama_gqa", build=llama, inputs=tokens(512), truth=closed_forms.llama(), source="closed form"),
    ]  # fmt: skip


def _lstm() -> Model:
    import torch
    from torch import nn

    from zoo.small import RecurrentClassifier

    return Model(
        name="lstm", build=lambda: RecurrentClassifier(nn.LSTM, vocabulary=5000, width=128, classes=10),
        inputs=lambda device: (torch.zeros(16, 64, dtype=torch.int64, device=device),),
        truth=closed_forms.lstm(), source="closed form",
    )  # fmt: skip
