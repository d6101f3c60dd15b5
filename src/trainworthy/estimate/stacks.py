"""Training software: how a table names it, and what it does where a table does not say.

One file a stack in ``constants/``; `trainworthy.estimate.run_constants` reads the fitted constants of the same files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.estimate.run_words import Attention, Checkpointing
from trainworthy.hardware.toml import read_toml

CONSTANTS = Path(__file__).parent / "constants"
GENERIC = "generic"
# Where tables name the software, the most explicit first. None of them is measured.
_NAMING_COLUMNS = ("stack", "framework", "model", "source_url", "id", "zero_stage", "compile_flash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A training stack and its habits: what is assumed where a table is silent."""

    name: str
    words: tuple[str, ...]
    """Regular expressions, in lower case; one that is found in a naming column of a row names the stack."""
    priority: int
    attention: Attention
    flash_version: int
    """Version of flash attention where a table does not say; 0: the kernels written for the GPU (cuDNN's)."""
    checkpointing: Checkpointing
    sequence_parallel: bool
    zero_stage: int
    reduces_fp32: bool
    compiled: bool
    interleaves: bool
    """Whether pipelines are interleaved where a table does not say."""
    overlaps_gradients: bool
    """Whether gradients are reduced while the last micro batch's backward pass runs."""
    scatters_transfers: bool
    """Whether tensor-parallel ranks send a share each to the next pipeline stage (Narayanan et al. 2021)."""
    successor: str | None
    """The stack that its later versions are like, on GPUs that came with them."""
    packed_span: int | None
    """Tokens of a sample that finetuning recipes pack into sequences; a token attends to no more than these."""
    seq_len: int | None
    """Sequence length of the stack's published benchmark, where its tables leave it out."""
    source: str
    """Where the habits come from."""


def stack_of(row: Mapping[str, str]) -> Stack:
    """Return the stack that a row names, or the generic one.

    >>> stack_of({"source_url": "https://github.com/mosaicml/llm-foundry/blob/main/x.md"}).name
    'llm-foundry'
    >>> stack_of({"framework": "my own trainer"}).name
    'generic'
    """
    for column in _NAMING_COLUMNS:
        text = (row.get(column) or "").casefold()
        for stack in _in_order() if text else ():
            if any(re.search(word, text) for word in stack.words):
                return stack
    return stack_row(GENERIC)


def stack_on(stack: Stack, generation: str) -> Stack:
    """Return what a stack was by the time of a GPU generation: Megatron-LM of the H100 is the core of NeMo.

    >>> stack_on(stack_row("megatron"), "ampere").name, stack_on(stack_row("megatron"), "hopper").name
    ('megatron', 'nemo')
    """
    if stack.successor is None or generation in {"pascal", "volta", "turing", "ampere"}:
        return stack
    return stack_row(stack.successor)


def stack_row(name: str) -> Stack:
    """Return the stack of that name.

    Raises:
        UsageError: If there is none; the message lists them.
    """
    stacks = stack_rows()
    if name not in stacks:
        raise UsageError(
            f"No constants for stack {name!r}. Known: {', '.join(stacks)}.",
            where="estimate/constants/",
            fix=f"Pass one of these; {GENERIC} is for software that has no row.",
        )
    return stacks[name]


@cache
def stack_rows() -> Mapping[str, Stack]:
    """Return all stacks by name, sorted."""
    return {path.stem: _stack(path.stem, read_toml(path)) for path in sorted(CONSTANTS.glob("*.toml"))}


@cache
def _in_order() -> tuple[Stack, ...]:
    return tuple(sorted(stack_rows().values(), key=lambda stack: -stack.priority))


def _stack(name: str, raw: Mapping[str, Any]) -> Stack:
    habits = dict(raw["habits"])
    return Stack(
        name=name, words=tuple(raw["words"]), priority=raw.get("priority", 0), source=raw["source"],
        seq_len=habits.pop("seq_len", None), packed_span=habits.pop("packed_span", None),
        successor=raw.get("successor"), **habits,
    )  # fmt: skip
