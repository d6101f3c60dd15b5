"""The words that tables of training runs use, read into plain values; an unknown word is None, never a guess."""

from __future__ import annotations

import re
from typing import Literal

Checkpointing = Literal["none", "full", "selective"]
Attention = Literal["flash", "fused", "unfused"]
Precision = Literal["fp32", "tf32", "fp16", "bf16", "fp8", "nvfp4"]
Fp8Recipe = Literal["tensorwise", "rowwise", "block", "mx"]
Selection = Literal["op", "layer", "attention"]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def whole_number(text: object) -> int | None:
    """Read a whole number; "" and words are None.

    >>> whole_number("8"), whole_number("8.0"), whole_number(""), whole_number("many"), whole_number("2.5")
    (8, 8, None, None, None)
    """
    value = number(text)
    return int(value) if value is not None and value == int(value) else None


def number(text: object) -> float | None:
    """Read a number that is not negative and finite; anything else is None.

    >>> number("70.554"), number(" "), number("-1"), number("nan"), number("1e400")
    (70.554, None, None, None, None)
    """
    try:
        value = float(str(text).strip().replace(",", ""))
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def zero_stage(text: str) -> tuple[int | None, int | None]:
    """Return the ZeRO stage that a table states, and over how many ranks it shards where it says so.

    PyTorch's FSDP shards parameters too (stage 3); "grad-op" is stage 2; over one rank it shards nothing.

    >>> zero_stage("FSDP 256"), zero_stage("FSDP2 full"), zero_stage("ZeRO-1 over 8 GPUs"), zero_stage("1")
    ((3, 256), (3, None), (1, 8), (1, None))
    >>> zero_stage("FSDP grad-op (ZeRO-2)"), zero_stage("FSDP full (ZeRO-3)"), zero_stage("FSDP 1"), zero_stage("")
    ((2, None), (3, None), (0, 1), (None, None))
    """
    words = text.casefold().strip()
    if not words or words in {"none", "ddp", "no"}:
        return (0, None) if words else (None, None)
    over = re.search(r"over (\d+)", words) or re.fullmatch(r"fsdp2? (\d+)", words)
    ranks = int(over[1]) if over else None
    stated = re.search(r"zero-?\s?(\d)", words) or re.fullmatch(r"([0-3])(?:\.0)?", words)
    if stated:
        stage = int(stated[1])
    elif "grad" in words or "distributed optimizer" in words:
        stage = 2 if "grad" in words else 1
    elif "fsdp" in words or "hsdp" in words:
        stage = 3
    else:
        return None, None
    return (0 if ranks == 1 else stage), ranks


def precision(text: str) -> tuple[Precision | None, Fp8Recipe | None]:
    """Return the type of matrix products, and how fp8 is scaled where a table says so.

    >>> precision("bf16+float8 rowwise"), precision("MXFP8"), precision("FP8-CS"), precision("amp_bf16")
    (('fp8', 'rowwise'), ('fp8', 'mx'), ('fp8', 'tensorwise'), ('bf16', None))
    >>> precision("bf16 (fp8 head in later records)"), precision("fp16 mixed"), precision(""), precision("NVFP4")
    (('bf16', None), ('fp16', None), (None, None), ('nvfp4', 'mx'))
    """
    words = text.casefold().strip()
    head = words.split("(")[0]
    if "fp4" in head:
        return "nvfp4", "mx"
    if "fp8" in head or "float8" in head:
        return "fp8", _fp8_recipe(words)
    for name, kind in (("bf16", "bf16"), ("bfloat16", "bf16"), ("fp16", "fp16"), ("float16", "fp16"), ("half", "fp16"),
                       ("tf32", "tf32"), ("fp32", "fp32"), ("float32", "fp32")):  # fmt: skip
        if name in words:
            return kind, None  # type: ignore[return-value]  # the table above holds only such words
    return ("fp16", None) if words == "mixed" else (None, None)


def _fp8_recipe(words: str) -> Fp8Recipe:
    if re.search(r"mx", words):
        return "mx"
    if "row" in words:
        return "rowwise"
    if re.search(r"block|fine-grained|fp8-sc", words):
        return "block"
    return "tensorwise"


def checkpointing(text: str) -> tuple[Checkpointing | None, Selection | None]:
    """Return which activations are recomputed, and what "selective" selects.

    >>> checkpointing("selective (op)"), checkpointing("selective (every 2nd layer)"), checkpointing("full")
    (('selective', 'op'), ('selective', 'layer'), ('full', None))
    >>> checkpointing("selective"), checkpointing("none"), checkpointing("")
    (('selective', None), ('none', None), (None, None))
    """
    words = text.casefold().strip()
    if not words:
        return None, None
    if "selective" in words:
        for word, kind in (("(op", "op"), ("layer", "layer"), ("attention", "attention"), ("core_attn", "attention")):
            if word in words:
                return "selective", kind  # type: ignore[return-value]  # the table above holds only such words
        return "selective", None
    if words in {"none", "no", "false", "off", "0"}:
        return "none", None
    return ("full", None) if words in {"full", "yes", "true", "on", "1", "uniform", "block"} else (None, None)


def attention(text: str) -> tuple[Attention | None, int | None]:
    """Return the attention kernel, and the version of flash attention where it is stated.

    PyTorch's SDPA takes cuDNN's kernel where there is one, which is as fast as version 3. "torch" and "fused" are the
    kernels of Aleph Alpha's grid: plain PyTorch, and Megatron's fused softmax.

    >>> attention("flash_attention2 + RMS kernel"), attention("flash_attentionv1.0.8"), attention("torch")
    (('flash', 2), ('flash', 1), ('unfused', None))
    >>> attention("torch.compile; SDPA"), attention("fused"), attention("TE + DeepEP"), attention("")
    (('flash', 3), ('fused', None), ('flash', None), (None, None))
    """
    words = text.casefold().strip()
    version = re.search(r"(?:flash[-_ ]?attention|flash attn|flash|fa)[-_ ]?v?(\d)", words)
    if "flash" in words or re.search(r"\bfa\d", words):
        return "flash", int(version[1]) if version else None
    if "sdpa" in words or "flexattention" in words:
        return "flash", 3
    if words in {"torch", "eager", "unfused", "math"}:
        return ("unfused", None) if words != "eager" else (None, None)
    if words.startswith("te ") or words == "te" or "cudnn" in words:
        return "flash", None
    return ("fused", None) if words == "fused" else (None, None)


def is_compiled(text: str) -> bool | None:
    """Return whether torch.compile is on, where a table says so.

    >>> is_compiled("torch.compile + async TP"), is_compiled("eager; SDPA"), is_compiled("flash-attention")
    (True, False, None)
    """
    words = text.casefold()
    if "not stated" in words:
        return None
    if "torch.compile" in words or "inductor" in words or "xla" in words:
        return True
    return False if "eager" in words else None


def network_gb_per_s(text: str, *, gpus_per_node: int) -> float | None:
    """Return what one GPU has to other nodes, in one direction, from a description of the network.

    >>> network_gb_per_s("1600 Gb/s RoCE node-to-node", gpus_per_node=8)
    25.0
    >>> network_gb_per_s("NVLink; 8x HDR IB per node", gpus_per_node=8)
    25.0
    >>> network_gb_per_s("NVLink; 4x100 Gb RoCE per node", gpus_per_node=8)
    6.25
    >>> network_gb_per_s("NVLink intra-node; RDMA 400 Gb/s per GPU", gpus_per_node=8)
    50.0
    >>> network_gb_per_s("NVSwitch", gpus_per_node=8) is None
    True
    """
    words = text.casefold()
    many = re.search(r"(\d+)\s*x\s*(\d+)\s*gb", words) or re.search(r"(\d+)\s*x\s*(edr|hdr|ndr|xdr)", words)
    if many:
        port = {"edr": 100.0, "hdr": 200.0, "ndr": 400.0, "xdr": 800.0}.get(many[2]) or float(many[2])
        return int(many[1]) * port / 8 / gpus_per_node
    rate = re.search(r"(?<!\d)(\d+)\s*gb(?:it)?/s", words)
    if rate is None:
        return None
    gb_per_s = int(rate[1]) / 8
    whole_node = re.search(r"per node|node-to-node|inter-node", words) is not None
    return gb_per_s / gpus_per_node if whole_node else gb_per_s


def plain_name(text: str) -> str:
    """Return letters and digits in lower case, to compare names of models.

    >>> plain_name("Llama-3.1-8B"), plain_name("LLAMA3.1 8B")
    ('llama318b', 'llama318b')
    """
    return "".join(letter for letter in text.casefold().split("(")[0] if letter.isalnum())
