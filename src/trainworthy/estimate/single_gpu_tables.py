"""What the cells of a table of one-GPU measurements mean: which model, which GPU, which precision, which batch.

Only cells that describe the run are read; nothing here looks at a measured column. A cell that no rule knows gives
None, and the row then has no prediction, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Workload(NamedTuple):
    """A profile and how its benchmark counts: items of the row's unit in one sample, default sequence length."""

    profile: str
    items_per_sample: float = 1.0
    sequence: int = 1
    half: bool = False
    """Mixed precision is apex's O2 here: weights and everything else in float16."""
    usual_batch: int | None = None
    """What the benchmark's own README uses where a table does not say; throughput hardly depends on it."""
    own_factor: bool = True
    """Whether the implementation has a factor of its own in ``published_rates.toml``."""


# Tokens, mels or audio samples that a benchmark counts in one sample of a batch: means of the data sets (not padded
# lengths): WMT16 en-de 2 x 26 subwords, LJSpeech 566 frames of 256 samples, segments of WaveGlow and Transformer-XL.
_GNMT_TOKENS, _MELS, _WAVEGLOW_SAMPLES = 52.0, 566.0, 8000.0

# Cells of the column "model", lower case, to workloads. NVIDIA's DeepLearningExamples and Lambda's forks of them.
_MODELS: tuple[tuple[str, Workload], ...] = (
    (r"bert_base_squad", Workload("bert_base_squad", 1.0, 384, half=True, usual_batch=16)),
    (r"bert_large_squad", Workload("bert_large_squad", 1.0, 384, half=True, usual_batch=16)),
    (r"languagemodeling/bert", Workload("bert_large_pretraining", 1.0, 384, half=True, usual_batch=16)),
    (r"gnmt", Workload("gnmt", _GNMT_TOKENS)),
    (r"recommendation/ncf", Workload("ncf", 1e-6)),  # its README counts in millions
    (r"ncf", Workload("ncf")),
    (r"resnet50", Workload("resnet50")),
    (r"classification/convnets/resnet50v1\.5", Workload("resnet50_nhwc", usual_batch=128)),
    (r"classification/convnets/resnext101-32x4d", Workload("resnext101_32x4d", usual_batch=128)),
    (r"classification/convnets/se-resnext101-32x4d", Workload("seresnext101_32x4d", usual_batch=128)),
    (r".*efficientnet-(widese-)?b0", Workload("efficientnet_b0", usual_batch=128)),
    (r".*efficientnet-(widese-)?b4", Workload("efficientnet_b4", usual_batch=64)),
    (r"(detection/)?ssd", Workload("ssd300")),
    (r"waveglow", Workload("waveglow", _WAVEGLOW_SAMPLES)),
    (r"(speechsynthesis/)?tacotron2", Workload("tacotron2", _MELS)),
    (r"transformerxlbase", Workload("transformerxl_base", 192.0)),
    (r"transformerxllarge", Workload("transformerxl_large", 384.0)),
    (r"speechrecognition/jasper", Workload("jasper")),
    (r"speechrecognition/quartznet", Workload("quartznet")),
    (r"segmentation/nnunet 2", Workload("nnunet_2d")),
    (r"segmentation/nnunet 3", Workload("nnunet_3d")),
    (r"gpt-2 medium.*", Workload("gpt2_medium", 1.0, 1024)),
    (r"bert-large \(hf trainer\)", Workload("bert_large", 1.0, 512)),
    (r"bert layer .*", Workload("bert_layer", 1.0, 128)),
    (r"gpt-2 layer .*", Workload("gpt2_layer", 1.0, 512)),
    (r"bert_large|gpt2_large|gpt3_xl|gpt3_27|opt_13", Workload("", 1.0, 512, own_factor=False)),
    (
        r"(vgg|densenet|resnet|resnext|wide_resnet|squeezenet|mnasnet|shufflenet|mobilenet)[_0-9a-z]*",
        Workload("", own_factor=False),
    ),
)


def workload_of(row: Mapping[str, str]) -> Workload | None:
    """Return the workload of a row, or None if the model is not known.

    >>> workload_of({"model": "Segmentation/nnUNet 2"}).profile, workload_of({"model": "my net"})
    ('nnunet_2d', None)
    """
    model = row.get("model", "").strip().lower()
    unit = row.get("throughput_unit", "").lower()
    if model.endswith("tacotron2") and "samples" in unit:
        model = "waveglow"  # one README, two models: audio samples are WaveGlow's, mels Tacotron's
    if model.endswith("transformer-xl"):
        model = _transformer_xl(row)
    for pattern, found in _MODELS:
        if re.fullmatch(pattern, model):
            named = found if found.profile else found._replace(profile=model)
            plain = row.get("framework", "").startswith("torchvision") and named.profile == "resnet50"
            return named._replace(profile="resnet50_plain", own_factor=False) if plain else named
    return None


def _transformer_xl(row: Mapping[str, str]) -> str:
    note = f"{row.get('note', '')} {row.get('method', '')}".lower()
    size = re.search(r"\b(base|large)\b", note)
    return f"transformerxl{size.group(1)}" if size else "unknown"


# --- GPUs ---------------------------------------------------------------------------------------------------------

# What people write in tables for a GPU, most specific first; where the form is not said, what the source says of the
# machine (DGX: SXM). ``{gb}`` is the memory that the row states in a cell of its own.
_GPUS: tuple[tuple[str, str], ...] = (
    (r"b200", "b200-sxm-180gb"),
    (r"gh200", "gh200-sxm-96gb"),
    (r"h100.*pcie", "h100-pcie-80gb"),
    (r"h100", "h100-sxm-80gb"),
    (r"a100.*pcie.*40|a100-pcie-40", "a100-pcie-40gb"),
    (r"a100.*80gb?.*pcie", "a100-pcie-80gb"),
    (r"a100.*40", "a100-sxm-40gb"),
    (r"a100 sxm", "a100-sxm-{gb}gb"),
    (r"a100", "a100-sxm-80gb"),
    (r"v100-pcie-32|v100.*pcie.*32", "v100-pcie-32gb"),
    (r"v100.*16gb|p3\.2xlarge", "v100-sxm2-16gb"),
    (r"v100", "v100-sxm2-32gb"),
    (r"rtx 3090 ti", "rtx-3090ti-24gb"),
    (r"rtx 3090", "rtx-3090-24gb"),
    (r"rtx 4090", "rtx-4090-24gb"),
    (r"rtx a6000", "rtx-a6000-48gb"),
    (r"rtx 6000 ada", "rtx-6000-ada-48gb"),
    (r"quadro ?rtx ?8000", "quadro-rtx-8000-48gb"),
    (r"quadro ?rtx ?6000", "quadro-rtx-6000-24gb"),
    (r"quadro ?rtx ?5000", "quadro-rtx-5000-16gb"),
    (r"titan ?rtx", "titan-rtx-24gb"),
    (r"2080 ?ti", "rtx-2080ti-11gb"),
    (r"2080 ?super ?max-?q", "rtx-2080-super-maxq-8gb"),
    (r"2080 ?max-?q", "rtx-2080-maxq-8gb"),
    (r"2070 ?max-?q", "rtx-2070-maxq-8gb"),
    (r"3080 ?max-?q", "rtx-3080-maxq-16gb"),
    (r"\ba10\b", "a10-pcie-24gb"),
    (r"nvidia_l4|\bl4\b", "l4-pcie-24gb"),
    (r"tesla_t4|\bt4\b", "t4-pcie-16gb"),
    (r"p100-pcie", "p100-pcie-16gb"),
    (r"mi210", "mi210-pcie-64gb"),
    (r"mi250", "mi250x-gcd-64gb"),
)


def gpu_of(row: Mapping[str, str]) -> str | None:
    """Return the id of a hardware row for what a table calls the GPU, or None.

    >>> gpu_of({"gpu": "A100 (NVIDIA DGX A100 (8x A100 40GB))"}), gpu_of({"gpu": "Tesla_P4"})
    ('a100-sxm-40gb', None)
    """
    text = row.get("gpu", "").strip().lower().replace("lambdacloud_1x", "")
    for pattern, found in _GPUS:
        if re.search(pattern, text):
            return found.format(gb=(row.get("gpu_memory_gb") or "80").split(".")[0])
    return None


# --- precision ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """Which variant of a profile a precision is, what stands in for float32, and whether products may be TF32."""

    variant: str
    replaced_dtype: str | None = None
    matmul_tf32: bool = False
    conv_tf32: bool = True


def precision_of(row: Mapping[str, str]) -> Precision | None:
    """Return what a row says of its precision, or None.

    >>> precision_of({"precision": "amp fp16"}).variant, precision_of({"precision": "fp64"}).replaced_dtype
    ('amp', 'float64')
    """
    text = row.get("precision", "").strip().lower()
    if text in ("amp", "amp fp16", "amp/fp16", "amp bf16"):
        return Precision(variant="amp")
    if text.startswith("pure fp16") or (text == "fp16" and row.get("framework") == "PyTorch"):
        return Precision(variant="fp32", replaced_dtype="float16")
    if text == "bf16":
        return Precision(variant="fp32", replaced_dtype="bfloat16", matmul_tf32=True)
    if text == "fp64":
        return Precision(variant="fp32", replaced_dtype="float64")
    if "tf32" in text:
        return Precision(variant="fp32", matmul_tf32=True)
    return Precision(variant="fp32", conv_tf32=False) if text == "fp32" else None


# --- batch --------------------------------------------------------------------------------------------------------


def batch_of(row: Mapping[str, str]) -> int | None:
    """Return the samples of one GPU in one pass, or None if the row does not say.

    ``"128 and 256"`` and ``"10240/5120"`` are for float32 and mixed precision, and for mixed precision and float32, as
    NVIDIA's tables head their columns; ``"10@FP16, 4@TF32"`` says it itself; thousands are what accumulation divides.

    >>> batch_of({"batch_per_gpu": "128 and 256", "precision": "amp"}), batch_of({"batch_per_gpu": "64k"})
    (256, 65536)
    """
    text = row.get("batch_per_gpu", "").strip().lower().replace("  ", " ") or _from_note(row.get("note", ""))
    mixed = row.get("precision", "").lower().startswith("amp")
    accumulation = row.get("grad_accum", "").strip()
    if "@" in text:
        sizes = dict(re.findall(r"(\d+)@(\w+)", text.replace(" ", "")))
        flipped = {kind: size for size, kind in sizes.items()}
        named = flipped.get("fp16") if mixed else flipped.get("tf32", flipped.get("fp32"))
        return int(named) if named else None
    if " and " in text:
        text, accumulation = _choose(text, mixed), _choose(accumulation, mixed)
        batch = _number(text)
        steps = _number(accumulation) or 1
        return batch // steps if batch and batch >= 1024 else batch
    if "/" in text:
        return _number(text.split("/")[0 if mixed else 1])
    return _number(text)


def accumulation_of(row: Mapping[str, str]) -> int:
    """Return how many passes an optimizer step has.

    >>> accumulation_of({"grad_accum": "64 and 32", "precision": "amp"}), accumulation_of({})
    (32, 1)
    """
    text = row.get("grad_accum", "").strip()
    mixed = row.get("precision", "").lower().startswith("amp")
    return _number(_choose(text, mixed) if " and " in text else text) or 1


def _from_note(note: str) -> str:
    found = re.search(r"\bbatch (\d+)", note)
    return found.group(1) if found else ""


def _choose(text: str, mixed: bool) -> str:
    parts = [part.strip() for part in text.split(" and ")]
    return parts[-1] if mixed else parts[0]


def _number(text: str) -> int | None:
    """Return a count of at least 1 that a table may hold; None for anything else, absurd ones included."""
    found = re.fullmatch(r"([0-9]{1,9})(k?)", text.strip())
    number = int(found.group(1)) * (1024 if found.group(2) else 1) if found else 0
    return number or None


def num_gpus_of(row: Mapping[str, str]) -> int | None:
    """Return how many GPUs a row is about, 1 if it does not say, or None if it cannot be read."""
    text = row.get("num_gpus", "").strip()
    return _number(text) if text else 1


def keeps_as_in_2020(row: Mapping[str, str]) -> bool:
    """Tell whether a row's software is PyTorch before 1.11: NVIDIA's containers up to 21.10.

    >>> keeps_as_in_2020({"framework": "PyTorch NGC 20.01/20.10 DeepLearningExamples"}), keeps_as_in_2020({})
    (True, False)
    """
    stated = re.findall(r"\bngc (\d\d)\.(\d\d)|/(\d\d)\.(\d\d)", row.get("framework", "").lower())
    releases = [(int(a or c), int(b or d)) for a, b, c, d in stated]
    return bool(releases) and max(releases) <= (21, 10)


def fills_the_card(row: Mapping[str, str]) -> bool:
    """Tell whether a row's note says that its batch was chosen to fill the card."""
    return "chosen to fill the card" in row.get("note", "")


def copied_bytes(row: Mapping[str, str], batch: int) -> float:
    """Return what a step copies from pageable memory of the host, where the row's note says that it is timed."""
    side = row.get("seq_len_or_img", "").strip()
    counted = "host->device copy" in row.get("note", "") and side.isdigit()
    return 12.0 * batch * int(side) ** 2 if counted else 0.0  # three float32 a pixel


def sequence_of(row: Mapping[str, str], default: int) -> int:
    """Return the sequence length a row states, else the benchmark's."""
    found = re.match(r"[0-9]{1,7}", row.get("seq_len_or_img", "").strip())
    return max(int(found.group()), 1) if found and default > 1 else default
