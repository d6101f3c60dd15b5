"""The models that have a profile: how each is built, fed and trained, as its benchmark does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Tensors = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileModel:
    """``inputs(batch, sequence)`` gives what ``loss(module, *inputs)`` takes."""

    build: Callable[[], Any]
    inputs: Callable[[int, int], Tensors]
    loss: Callable[..., Any]
    about: str
    optimizer: Callable[[Any], Any] | None = None
    variants: tuple[str, ...] = ("train-amp", "train-fp32")
    channels_last: Literal["never", "amp", "always"] = "never"
    has_sequence: bool = False
    longest: Callable[[int, int], Tensors] | None = None
    """Inputs of the longest batch, where lengths vary: they make the peak, the usual ones the time."""
    memory_batches: tuple[int, int] = (512, 2048)
    """Batches large enough that activations make the peak, not the optimizer."""


MODELS: dict[str, ProfileModel] = {}


def images(size: int) -> Callable[[int, int], Tensors]:
    """Make images of ``size`` and class labels."""
    import torch

    return lambda b, s: (torch.empty(b, 3, size, size, device="cuda"), torch.zeros(b, dtype=torch.long, device="cuda"))


def classified(module: Any, x: Any, y: Any) -> Any:
    """Cross entropy of a classifier."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(module(x), y)


def sgd(parameters: Any) -> Any:
    """SGD with momentum, one tensor at a time, as before torch 2.0."""
    import torch

    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=False)


def fused_adam(parameters: Any) -> Any:
    """Adam in few kernels, as apex's and torch's fused ones."""
    import torch

    return torch.optim.AdamW(parameters, lr=1e-4, fused=True)


def _torchvision() -> None:
    from benchmarks.profile_images import mnasnet, shufflenet
    from zoo.classic import squeezenet, vgg
    from zoo.densenet import densenet
    from zoo.mobile import mobilenet_v2
    from zoo.resnet import resnet

    builders: dict[str, Callable[[], Any]] = {"mobilenet_v2": mobilenet_v2}
    builders |= {f"vgg{n}": lambda n=n: vgg(n) for n in (11, 13, 16, 19)}
    builders |= {f"vgg{n}_bn": lambda n=n: vgg(n, batch_norm=True) for n in (11, 13, 16, 19)}
    builders |= {f"densenet{n}": lambda n=n: densenet(n) for n in (121, 161, 169, 201)}
    builders |= {f"resnet{n}": lambda n=n: resnet(n) for n in (18, 34, 101, 152)}
    builders |= {f"squeezenet1_{n}": lambda n=n: squeezenet(f"1.{n}") for n in (0, 1)}
    builders |= {
        f"mnasnet{w}_{f}": lambda w=w, f=f: mnasnet(float(f"{w}.{f}")) for w, f in ((0, 5), (0, 75), (1, 0), (1, 3))
    }
    builders |= {
        f"shufflenet_v2_x{w}_{f}": lambda w=w, f=f: shufflenet(float(f"{w}.{f}"))
        for w, f in ((0, 5), (1, 0), (1, 5), (2, 0))
    }
    builders["resnext50_32x4d"] = lambda: resnet(50, groups=32, group_width=4)
    builders["resnext101_32x8d"] = lambda: resnet(101, groups=32, group_width=8)
    builders["wide_resnet50_2"] = lambda: resnet(50, group_width=128)
    builders["wide_resnet101_2"] = lambda: resnet(101, group_width=128)
    builders["resnet50_plain"] = lambda: resnet(50)
    for name, build in builders.items():
        MODELS[name] = ProfileModel(
            build=build, inputs=images(224), loss=classified,
            about="torchvision's architecture, 224 pixels, no optimizer",
            variants=("train-fp32", "infer-fp32"),
        )  # fmt: skip
    MODELS["resnet50"] = ProfileModel(
        build=lambda: resnet(50), inputs=images(224), loss=classified, optimizer=sgd,
        about="ResNet-50 v1.5, 224 pixels, SGD, channels first",
    )  # fmt: skip


_torchvision()


def _text() -> None:
    from benchmarks import profile_text as text

    both = {"has_sequence": True, "inputs": text.tokens}
    for size, shape in (("base", (12, 768, 12)), ("large", (24, 1024, 16))):
        MODELS[f"bert_{size}_squad"] = ProfileModel(
            build=lambda shape=shape: text.bert(*shape, task="squad"), loss=text.squad_loss, optimizer=fused_adam,
            about=f"BERT-{size}, question answering, Adam in one kernel, attention as separate kernels", **both,
        )  # fmt: skip
    MODELS["bert_large_pretraining"] = ProfileModel(
        build=lambda: text.bert(24, 1024, 16, task="pretraining"), loss=text.pretraining_loss, optimizer=fused_adam,
        about="BERT-large, masked words and next sentence, attention as separate kernels", **both,
    )  # fmt: skip
    plain = {"variants": ("train-fp32", "infer-fp32"), **both}
    MODELS["bert_large"] = ProfileModel(
        build=lambda: text.bert(24, 1024, 16, task="pretraining"), loss=text.bare_loss,
        about="BERT-large, no optimizer, attention as separate kernels", **plain,
    )  # fmt: skip
    shapes = {
        "gpt2_large": (36, 1280, 20),
        "gpt3_xl": (24, 3072, 24),
        "gpt3_27": (32, 2560, 32),
        "gpt2_medium": (24, 1024, 16),
    }
    for name, shape in shapes.items():
        MODELS[name] = ProfileModel(
            build=lambda shape=shape: text.gpt2(*shape), loss=text.next_token_loss,
            about=f"GPT-2 with {shape[0]} layers of {shape[1]}, {shape[2]} heads, no optimizer", **plain,
        )  # fmt: skip
    MODELS["opt_13"] = ProfileModel(
        build=lambda: text.opt(24, 2048, 32), loss=text.next_token_loss, about="OPT-1.3B, no optimizer", **plain
    )
    for kind in ("bert", "gpt2"):
        MODELS[f"{kind}_layer"] = ProfileModel(
            build=lambda kind=kind: text.Layer(kind), inputs=text.hidden_states(1024), has_sequence=True,
            loss=lambda module, x: module(x).sum(), variants=("train-fp32", "infer-fp32"),
            about=f"one layer of {kind} of width 1024 and 16 heads",
        )  # fmt: skip
    for size, shape in (
        ("base", {"layers": 16, "width": 512, "heads": 8, "inner": 64, "feed": 2048, "memory": 192}),
        ("large", {"layers": 18, "width": 1024, "heads": 16, "inner": 64, "feed": 4096, "memory": 384}),
    ):
        MODELS[f"transformerxl_{size}"] = ProfileModel(
            build=lambda shape=shape: text.TransformerXl(**shape), loss=text.own_loss, optimizer=fused_adam,
            inputs=_tokens_time_first(shape["memory"]), about=f"Transformer-XL {size}, segments of {shape['memory']}",
        )  # fmt: skip
    MODELS["gnmt"] = ProfileModel(
        build=text.Gnmt, inputs=text.sentences(GNMT_LENGTH), loss=text.own_loss, optimizer=fused_adam,
        about=f"GNMT v2, sentences padded to {GNMT_LENGTH} tokens; peak at {GNMT_LONGEST}",
        longest=text.sentences(GNMT_LONGEST),
    )  # fmt: skip


# Padded lengths of batches, from the data sets: WMT16 en-de with up to 50 subwords in buckets of similar length (the
# mean is 25 to 30); LJSpeech (mean 6.6 s = 566 frames of 256 samples, longest 10.1 s = 870; 100 letters, longest 187);
# LibriSpeech (mean 12.3 s, longest 16.7 s; 100 frames a second; batches of mixed lengths are padded to the longest).
GNMT_LENGTH, MEL_FRAMES, LETTERS, SPEECH_FRAMES, WAVEGLOW_SAMPLES = 28, 820, 165, 1536, 8000
# GNMT's trainer runs a batch of the longest sentences first, so that the allocator has seen the worst
# (`preallocate` in seq2seq/train/trainer.py, `--max-length-train` 50).
GNMT_LONGEST, LONGEST_MEL_FRAMES, LONGEST_TEXT = 50, 870, 187


def _tokens_time_first(length: int) -> Callable[[int, int], Tensors]:
    import torch

    return lambda b, s: (torch.zeros(length, b, dtype=torch.long, device="cuda"),)


def _other() -> None:
    from benchmarks import profile_other as other
    from benchmarks.profile_text import own_loss

    def add(
        name: str, build: Callable[[], Any], inputs: Any, about: str, optimizer: Any = fused_adam, longest: Any = None
    ) -> None:
        batches = (1 << 20, 1 << 21) if name == "ncf" else (512, 2048)
        MODELS[name] = ProfileModel(
            build=build, inputs=inputs, loss=own_loss, about=about, optimizer=optimizer, memory_batches=batches,
            longest=longest,
        )  # fmt: skip

    add("ssd300", other.Ssd, lambda b, s: images(300)(b, s)[:1], "SSD300 with ResNet-50, 300 pixels, SGD", sgd)
    add("ncf", other.NeuMf, other.pairs, "NeuMF on MovieLens-20M, Adam over all embeddings")
    longest = other.speech(LONGEST_TEXT, LONGEST_MEL_FRAMES)
    about = f"Tacotron 2, {MEL_FRAMES} frames; peak at {LONGEST_MEL_FRAMES}"
    add("tacotron2", other.Tacotron2, other.speech(LETTERS, MEL_FRAMES), about, longest=longest)
    add("waveglow", other.WaveGlow, other.waves(WAVEGLOW_SAMPLES), f"WaveGlow, {WAVEGLOW_SAMPLES} samples")
    add("jasper", lambda: other.Recogniser(quartznet=False), other.frames(SPEECH_FRAMES), "Jasper 10x5 dense residual")
    add("quartznet", lambda: other.Recogniser(quartznet=True), other.frames(SPEECH_FRAMES), "QuartzNet 15x5")
    add("nnunet_2d", lambda: other.NnUnet(2), other.volumes(192, 160), "nnU-Net 2D, 192 x 160")
    add("nnunet_3d", lambda: other.NnUnet(3), other.volumes(128, 128, 128), "nnU-Net 3D, 128 cubed")


def _timm() -> None:
    """Add NVIDIA's image models, whose architectures timm has (built without weights)."""
    from benchmarks.timm_models import create
    from zoo.resnet import resnet

    named = {"efficientnet_b0": ("efficientnet_b0", 224), "efficientnet_b4": ("efficientnet_b4", 380),
             "seresnext101_32x4d": ("seresnext101_32x4d", 224)}  # fmt: skip
    for name, (model, size) in named.items():
        MODELS[name] = ProfileModel(
            build=lambda model=model: create(model), inputs=images(size), loss=classified, optimizer=sgd,
            channels_last="amp", about=f"{model}, {size} pixels, SGD",
        )  # fmt: skip
    for name, groups, width, depth in (("resnext101_32x4d", 32, 4, 101), ("resnet50_nhwc", 1, 64, 50)):
        MODELS[name] = ProfileModel(
            build=lambda depth=depth, groups=groups, width=width: resnet(depth, groups=groups, group_width=width),
            inputs=images(224), loss=classified, optimizer=sgd, channels_last="amp", about=f"{name}, 224 pixels, SGD",
        )  # fmt: skip


_text()
_other()
_timm()
