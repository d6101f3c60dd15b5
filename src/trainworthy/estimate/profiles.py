"""Steps of known models as data: every operator of a training step, for any batch size, without torch.

A profile holds the operators of one step, each with how often it runs and the shapes of its tensors, in which the
letters ``b`` and ``s`` stand for the batch and the sequence length. ``benchmarks/profiles.py`` records them on the
virtual GPU from models that it builds; nothing in them is measured. See docs/single-gpu.md.

A tensor is written ``"h c b,64,56,56"``: type, layout, sizes. Types: h float16, f float32, d float64, g bfloat16,
i int64, o bool or another of one byte. Layouts: n contiguous, c channels-last, t the last two dimensions swapped,
x another order. A size with ``*`` before it is expanded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

from trainworthy.errors import UsageError
from trainworthy.estimate.kernel_work import tensor_bytes
from trainworthy.estimate.op_classes import op_class
from trainworthy.tape.record import Phase, Signature, TensorMeta

DTYPES = {"h": "float16", "f": "float32", "d": "float64", "g": "bfloat16", "i": "int64", "o": "bool"}
PHASE_LETTERS: Mapping[str, Phase] = {"f": "forward", "b": "backward", "o": "optimizer", "r": "recompute"}


class CountedOp(NamedTuple):
    """An operator of a step and how often it runs there."""

    times: int
    phase: Phase
    signature: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledStep:
    """One step of a model at a batch size."""

    ops: tuple[CountedOp, ...]
    views: Mapping[str, int]
    """How many operators change only how a tensor is seen, by phase: they cost the host time."""
    peak_bytes: int
    parameters: int
    trains: bool


@lru_cache(maxsize=128)
def profile_of(name: str) -> dict[str, Any]:
    """Return a profile as it is stored.

    Raises:
        UsageError: If there is none of that name.
    """
    path = resources.files("trainworthy.estimate") / "profile_data" / f"{name}.json"
    if not path.is_file():
        raise UsageError(f"No profile {name!r}.", fix=f"One of {', '.join(profile_names())}.")
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


@lru_cache(maxsize=1)
def profile_names() -> tuple[str, ...]:
    """List the models that have a profile."""
    folder = resources.files("trainworthy.estimate") / "profile_data"
    return tuple(sorted(p.name.removesuffix(".json") for p in folder.iterdir() if p.name.endswith(".json")))


def has_variant(name: str, variant: str) -> bool:
    """Tell whether there is a profile of a model with this variant, such as ``"train-amp"``."""
    return name in profile_names() and variant in profile_of(name)["variants"]


@lru_cache(maxsize=512)
def profiled_step(
    name: str, *, variant: str, batch: int, sequence: int = 1, replaced_dtype: str | None = None
) -> ProfiledStep:
    """Return the operators of a step of a known model.

    ``replaced_dtype`` stands in for float32: ``"float16"`` for a model after ``.half()``, ``"float64"``, ...

    Raises:
        UsageError: If there is no such profile or variant.
    """
    profile = profile_of(name)
    if variant not in profile["variants"]:
        raise UsageError(f"The profile of {name} has no {variant!r}.", fix=f"One of {', '.join(profile['variants'])}.")
    raw = profile["variants"][variant]
    ops = tuple(
        CountedOp(
            size_of(count, batch, sequence) if isinstance(count, str) else count,
            PHASE_LETTERS.get(phase, "other"),
            _signature(op, inputs, outputs, flops, batch=batch, sequence=sequence, replaced=replaced_dtype),
        )
        for count, phase, op, inputs, outputs, flops in raw["ops"]
    )
    wider = {"float16": 0.5, "bfloat16": 0.5, "float64": 2.0}.get(replaced_dtype or "", 1.0)
    fixed, per_token, per_pair = raw["peak_bytes"]
    peak = fixed + batch * sequence * (per_token + per_pair * sequence)
    return ProfiledStep(
        ops=ops, views=raw["views"], peak_bytes=int(wider * peak),
        parameters=profile["parameters"], trains=variant.startswith("train"),
    )  # fmt: skip


def _signature(
    name: str, inputs: str, outputs: str, flops: str, *, batch: int, sequence: int, replaced: str | None
) -> Signature:
    read = tuple(tensor_of(text, batch, sequence, replaced) for text in inputs.split(";") if text)
    made = tuple(tensor_of(text, batch, sequence, replaced) for text in outputs.split(";") if text)
    known = size_of(flops, batch, sequence) if flops else 0
    moved_bytes = sum(map(tensor_bytes, (*read, *made)))
    if op_class(name) == "gather" and read:  # of a table it reads the rows that it writes
        moved_bytes += sum(map(tensor_bytes, made)) - tensor_bytes(read[0])
    return Signature(name, read, made, known, 0, 0, moved_bytes)


def size_of(text: str, batch: int, sequence: int) -> int:
    """Return a size that letters make depend on batch and sequence.

    >>> size_of("12bs", 4, 10), size_of("768", 4, 10), size_of("bss", 2, 3)
    (480, 768, 18)
    """
    digits = text.rstrip("bs")
    letters = text[len(digits) :]
    size: int = int(digits or 1) * batch ** letters.count("b") * sequence ** letters.count("s")
    return size


def tensor_of(text: str, batch: int, sequence: int, replaced: str | None = None) -> TensorMeta:
    """Read a tensor.

    >>> tensor_of("h c 2,64,7,7", 1, 1).stride
    (3136, 1, 448, 64)
    """
    dtype_letter, layout, sizes = text.split(" ")
    dtype = DTYPES[dtype_letter]
    if replaced is not None and dtype == "float32":
        dtype = replaced
    words = sizes.split(",") if sizes else []
    shape = tuple(size_of(word.lstrip("*"), batch, sequence) for word in words)
    expanded = {dim for dim, word in enumerate(words) if word.startswith("*")}
    stride = _stride(shape, layout)
    return TensorMeta(shape, tuple(0 if d in expanded else n for d, n in enumerate(stride)), dtype, "cuda:0")


def _stride(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    order = list(range(len(shape)))
    if layout == "c" and len(shape) > 2:
        order = [0, *order[2:], 1]
    elif layout == "t" and len(shape) > 1:
        order[-2:] = reversed(order[-2:])
    elif layout == "x":
        order.reverse()
    strides, step = [0] * len(shape), 1
    for dim in reversed(order):
        strides[dim] = step
        step *= max(shape[dim], 1)
    return tuple(strides)
