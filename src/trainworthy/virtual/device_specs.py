"""What an operation's result depends on, how results are made again, and arguments in other forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from trainworthy.tape.operators import flat_tensors
from trainworthy.virtual import values
from trainworthy.virtual.tensors import (
    META,
    claim,
    device_of,
    is_virtual,
    like_real,
    raw_empty_strided,
    raw_is_meta,
)


def empty_like(tensor: torch.Tensor) -> torch.Tensor:
    """Return a meta tensor with the shape, strides and dtype of another."""
    return raw_empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)


def key_of(value: Any) -> Any:
    """Return what the result of a meta kernel depends on; raise TypeError if it cannot be cached."""
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided or value.is_conj() or value.is_neg():
            raise TypeError("no cache for sparse and conjugate tensors")
        return (value.shape, value.stride(), value.dtype)
    if isinstance(value, (list, tuple)):
        return tuple([key_of(v) for v in value])
    if isinstance(value, (bool, int, float)):
        return (type(value), value)
    if isinstance(value, torch.Generator):
        return torch.Generator
    return value


def spec_of(out: Any, inputs: list[torch.Tensor]) -> Any:
    """Describe fresh outputs so that they can be made again; ``None`` if one is not fresh."""
    taken = {t.untyped_storage()._cdata for t in inputs if t.layout is torch.strided}

    def spec(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if value.layout is not torch.strided or value.untyped_storage()._cdata in taken:
                raise TypeError("not fresh")
            size = value.untyped_storage().nbytes()
            full = raw_empty_strided(value.shape, value.stride(), dtype=value.dtype, device=META)
            if value.storage_offset() or size != full.untyped_storage().nbytes():
                raise TypeError("part of a larger storage")
            return ("t", tuple(value.shape), value.stride(), value.dtype)
        if isinstance(value, (list, tuple)):
            return ("l" if isinstance(value, list) else "u", [spec(v) for v in value])
        return ("v", value)

    try:
        return spec(out)
    except TypeError:
        return None


def rebuild(spec: Any, device: torch.device) -> Any:
    """Make the outputs that ``spec_of`` described."""
    kind = spec[0]
    if kind == "t":
        tensor = raw_empty_strided(spec[1], spec[2], dtype=spec[3], device=META)
        tensor.untyped_storage()._tw_device = device  # type: ignore[attr-defined]
        return tensor
    if kind == "v":
        return spec[1]
    items = [rebuild(s, device) for s in spec[1]]
    return items if kind == "l" else tuple(items)


def claim_new(out: Any, device: torch.device) -> Any:
    """Make new outputs virtual on ``device``."""
    for tensor in flat_tensors((out,), {}):
        if raw_is_meta(tensor) and device_of(tensor) is None:
            claim(tensor, device)
    return out


def argument(which: int | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return an argument by position or name."""
    if isinstance(which, int):
        return args[which] if which < len(args) else None
    return kwargs.get(which)


def elements(args: tuple[Any, ...]) -> int:
    """Return how many elements a factory makes."""
    if args and isinstance(args[0], (list, tuple)):
        total = 1
        for size in args[0]:
            total *= int(size)
        return total
    return max((int(a) for a in args if isinstance(a, int)), default=0)


def map_nested(value: Any, function: Callable[[Any], Any]) -> Any:
    """Apply ``function`` inside lists and tuples."""
    if isinstance(value, (list, tuple)):
        return type(value)(map_nested(v, function) for v in value)
    return function(value)


def to_meta_value(value: Any) -> Any:
    """Replace real tensors by meta ones; meta kernels take no generators."""
    if isinstance(value, torch.Tensor):
        return value if raw_is_meta(value) else like_real(value)
    if isinstance(value, (list, tuple)):
        return type(value)(to_meta_value(v) for v in value)
    if isinstance(value, torch.Generator):
        return None
    return value


def to_meta(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace real tensors among arguments by meta ones."""
    return tuple([to_meta_value(a) for a in args])


def to_real_value(value: Any) -> Any:
    """Replace virtual tensors by real ones with known or assumed values."""
    if isinstance(value, torch.Tensor):
        return values.assumed_values(value) if is_virtual(value) else value
    if isinstance(value, (list, tuple)):
        return type(value)(to_real_value(v) for v in value)
    return value


def to_real(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Replace virtual tensors among arguments by real ones."""
    return tuple([to_real_value(a) for a in args])
