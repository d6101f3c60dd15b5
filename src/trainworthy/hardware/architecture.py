"""What all GPUs of one compute capability share: limits of an SM, and the memory a CUDA context takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainworthy.errors import HardwareRowError


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextMemory:
    """Device memory taken outside PyTorch's allocator by the CUDA context and the kernels loaded into it."""

    low_bytes: int
    expected_bytes: int
    high_bytes: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Limits of one compute capability, as ``torch.cuda.get_device_properties`` reports them."""

    name: str
    """For people, such as ``Hopper``."""
    compute_capability: tuple[int, int]
    max_threads_per_sm: int
    registers_per_sm: int
    shared_memory_per_block_bytes: int
    shared_memory_per_block_optin_bytes: int
    shared_memory_per_sm_bytes: int
    warp_size: int
    context: ContextMemory


def architecture_from_toml(raw: Mapping[str, Any], *, where: str) -> Architecture:
    """Build one architecture from its table in ``architectures.toml``.

    Raises:
        HardwareRowError: If a field is missing or the context range is not ordered.
    """
    try:
        context = ContextMemory(**raw["context"])
        fields = {name: value for name, value in raw.items() if name not in {"context", "id"}}
        fields["compute_capability"] = parse_capability(fields["compute_capability"])
        architecture = Architecture(context=context, **fields)
    except (KeyError, TypeError, ValueError) as error:
        raise HardwareRowError(f"A table does not have the fields of an architecture: {error}.", where=where) from error
    if not 0 < context.low_bytes <= context.expected_bytes <= context.high_bytes:
        raise HardwareRowError(f"The context range {context} is not low <= expected <= high.", where=where)
    return architecture


def parse_capability(text: str) -> tuple[int, int]:
    """Read a compute capability.

    >>> parse_capability("8.6"), parse_capability("12.0")
    ((8, 6), (12, 0))
    """
    major, minor = text.split(".")
    return int(major), int(minor)
