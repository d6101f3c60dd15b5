"""Memory of parameters, gradients and optimizer states: on one GPU, and divided by ZeRO or FSDP."""

from __future__ import annotations

from typing import NamedTuple

from trainworthy.errors import FormulaError
from trainworthy.formulas.arguments import ceil_div, require_not_negative, require_one_of, require_whole


class Precision(NamedTuple):
    """Bytes a parameter that a precision scheme keeps, without the optimizer's states."""

    weight: float
    """The copy that the forward pass reads from one step to the next."""
    gradient: float
    master: float
    """A further float32 copy that the optimizer updates."""
    state_element: int
    """Bytes of one element of an optimizer state."""
    what: str


class ModelStates(NamedTuple):
    """Bytes on one rank."""

    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    """States and the master copy."""

    @property
    def total_bytes(self) -> int:
        """Return the sum of all three."""
        return self.weight_bytes + self.gradient_bytes + self.optimizer_bytes


PRECISIONS: dict[str, Precision] = {
    "fp32": Precision(4, 4, 0, 4, "everything in float32"),
    "amp": Precision(4, 4, 0, 4, "torch.autocast: weights, gradients and states in float32; casts are temporary"),
    "mixed": Precision(2, 2, 4, 4, "16-bit weights and gradients, float32 master copy (Micikevicius et al. 2018)"),
    "mixed-fp32-grad": Precision(2, 4, 4, 4, "as mixed, gradients gathered in float32 (Megatron-LM)"),
    "bf16": Precision(2, 2, 0, 2, "everything in bfloat16; small updates are rounded away"),
}


def model_states(
    *,
    parameters: int,
    optimizer_bytes_per_parameter: float,
    precision: str = "mixed",
    zero_stage: int = 0,
    ranks: int = 1,
) -> ModelStates:
    """Count bytes of weights, gradients and optimizer states on one rank.

    ZeRO divides by the ranks: stage 1 the states and the master copy, stage 2 the gradients too, stage 3 (and FSDP's
    full sharding) the weights too. Without a fraction of a byte: each part is rounded up once.

    Shapes:   P parameters over N ranks
    Unit:     bytes
    Exact?    yes for what persists; frameworks pad each tensor or flat group to a multiple of N
    Source:   Rajbhandari et al., "ZeRO", 2020, figure 1 and section 5; Megatron-LM counts 18, or 6 + 12/N, with
              ``"mixed-fp32-grad"`` and its distributed optimizer (stage 1)

    >>> model_states(parameters=7_500_000_000, optimizer_bytes_per_parameter=8).total_bytes
    120000000000
    >>> states = [
    ...     model_states(parameters=7_500_000_000, optimizer_bytes_per_parameter=8, zero_stage=stage, ranks=64)
    ...     for stage in (1, 2, 3)
    ... ]
    >>> [round(state.total_bytes / 1e9, 1) for state in states]
    [31.4, 16.6, 1.9]

    Raises:
        FormulaError: For negative sizes, an unknown precision or a stage that is not 0 to 3.
    """
    require_whole(0, parameters=parameters, zero_stage=zero_stage)
    require_whole(1, ranks=ranks)
    require_not_negative(optimizer_bytes_per_parameter=optimizer_bytes_per_parameter)
    require_one_of(tuple(PRECISIONS), precision=precision)
    if zero_stage > 3:
        raise FormulaError("zero_stage", zero_stage, "0, 1, 2 or 3")
    scheme = PRECISIONS[precision]
    return ModelStates(
        weight_bytes=_share(parameters * scheme.weight, ranks if zero_stage >= 3 else 1),
        gradient_bytes=_share(parameters * scheme.gradient, ranks if zero_stage >= 2 else 1),
        optimizer_bytes=_share(
            parameters * (scheme.master + optimizer_bytes_per_parameter), ranks if zero_stage >= 1 else 1
        ),
    )


def fsdp_transient_bytes(
    *, unit_parameters: int, compute_bytes: int = 2, reduce_bytes: int = 4, units_gathered: int = 2, ranks: int
) -> int:
    """Count what FSDP holds beside the shards while it works: gathered units, and gradients on their way.

    While one unit computes, the next one is gathered (prefetch); in the backward pass the whole gradient of a unit
    exists until it is reduced and scattered.

    Shapes:   U parameters in the largest unit, over N ranks
    Unit:     bytes
    Exact?    an upper end: the largest unit is taken for each of those gathered
    Source:   Zhao et al., "PyTorch FSDP", 2023, sections 3.2 and 3.3

    >>> fsdp_transient_bytes(unit_parameters=200_000_000, ranks=8)
    1600000000

    Raises:
        FormulaError: For negative sizes or a group without ranks.
    """
    require_whole(0, unit_parameters=unit_parameters, compute_bytes=compute_bytes, reduce_bytes=reduce_bytes)
    require_whole(1, ranks=ranks, units_gathered=units_gathered)
    if ranks == 1:
        return 0
    padded_parameters = ceil_div(unit_parameters, ranks) * ranks
    return padded_parameters * (units_gathered * compute_bytes + reduce_bytes)


def shard_parameters(*, sizes: tuple[int, ...], ranks: int, rank: int) -> int:
    """Count the parameters that rank holds when each tensor is cut along its first dimension, as FSDP2 does.

    Chunks are ``ceil(size / ranks)`` rows; the last ranks may hold fewer, or none.

    Shapes:   ``sizes`` is the shape of one tensor
    Unit:     parameters
    Exact?    yes
    Source:   torch.chunk; torch.distributed.fsdp.fully_shard (torch 2.13): Shard(0)

    >>> [shard_parameters(sizes=(5, 3), ranks=4, rank=rank) for rank in range(4)]
    [6, 6, 3, 0]

    Raises:
        FormulaError: For negative sizes or a rank outside the group.
    """
    require_whole(1, ranks=ranks)
    require_whole(0, rank=rank)
    if rank >= ranks:
        raise FormulaError("rank", rank, f"below ranks = {ranks}")
    if not sizes:
        raise FormulaError("sizes", sizes, "a shape of at least one dimension", fix="A scalar cannot be sharded.")
    total = 1
    for size in sizes:
        require_whole(0, sizes=size)
        total *= size
    rows = sizes[0]
    per_rank = ceil_div(rows, ranks)
    mine = min(max(rows - rank * per_rank, 0), per_rank)
    return total // rows * mine if rows else 0


def _share(num_bytes: float, ranks: int) -> int:
    """Divide and round up, in whole numbers wherever the bytes are whole."""
    whole = int(num_bytes)
    if whole == num_bytes:
        return ceil_div(whole, ranks)
    return ceil_div(whole + 1, ranks)
