"""Pipeline parallelism: how much of the time is bubble, and how many micro-batches a stage holds.

p stages, m micro-batches, v chunks of layers a stage (1 but for the interleaved schedule). ``forward`` and
``backward`` are the times of one micro-batch on one stage; the zero-bubble schedules split the backward pass into its
half for the inputs (B) and its half for the weights (W). `pipeline_schedules` has the schedules themselves.
"""

from __future__ import annotations

from typing import Literal

from trainworthy.errors import FormulaError
from trainworthy.formulas.arguments import require_divisible, require_not_negative, require_one_of, require_whole

Schedule = Literal["gpipe", "1f1b", "interleaved", "zb-h1", "zb-h2"]
SCHEDULES: tuple[Schedule, ...] = ("gpipe", "1f1b", "interleaved", "zb-h1", "zb-h2")


def pipeline_bubble(
    *, schedule: Schedule, stages: int, chunks: int = 1, forward: float = 1.0, input_backward: float = 1.0,
    weight_backward: float = 1.0,
) -> float:  # fmt: skip
    """Return how long a stage idles in a step.

    gpipe and 1f1b: (p - 1)(F + B + W); interleaved: that divided by v; zb-h1: (p - 1)(F + B - W); zb-h2: 0, because the
    next step begins before the last stage has ended this one.

    Unit:     that of the given times
    Exact?    for equal stages, communication hidden, and m >= p (zb-h2: m >= 2p - 1)
    Source:   Huang et al., "GPipe", 2019; Narayanan et al. 2021, section 2.2; Qi et al., "Zero bubble pipeline
              parallelism", 2024, table 2

    >>> [pipeline_bubble(schedule=name, stages=4, chunks=2 if name == "interleaved" else 1) for name in SCHEDULES]
    [9.0, 9.0, 4.5, 3.0, 0.0]

    Raises:
        FormulaError: For sizes below 1, negative times, chunks without interleaving, or an unknown schedule.
    """
    _check(schedule, stages, chunks)
    require_not_negative(forward=forward, input_backward=input_backward, weight_backward=weight_backward)
    if schedule == "zb-h2":
        return 0.0
    if schedule == "zb-h1":
        return (stages - 1) * max(forward + input_backward - weight_backward, 0.0)
    return (stages - 1) * (forward + input_backward + weight_backward) / chunks


def bubble_overhead(*, schedule: Schedule, stages: int, microbatches: int, chunks: int = 1) -> float:
    """Return bubble / work: the step takes (1 + this) times what it would without one. Forward : backward is 1 : 2.

    Unit:     1
    Exact?    as `pipeline_bubble`
    Source:   as `pipeline_bubble`

    >>> bubble_overhead(schedule="1f1b", stages=4, microbatches=6)
    0.5

    Raises:
        FormulaError: As `pipeline_bubble`; for ``"interleaved"`` also if the stages do not divide the micro-batches.
    """
    _check(schedule, stages, chunks)
    require_whole(1, microbatches=microbatches)
    if schedule == "interleaved":
        require_divisible("stages", stages, microbatches=microbatches)
    return pipeline_bubble(schedule=schedule, stages=stages, chunks=chunks) / (3.0 * microbatches)


def bubble_share(*, schedule: Schedule, stages: int, microbatches: int, chunks: int = 1) -> float:
    """Return bubble / whole step: (p - 1)/(m + p - 1) for gpipe and 1f1b.

    Unit:     1
    Exact?    as `pipeline_bubble`
    Source:   as `pipeline_bubble`

    >>> round(bubble_share(schedule="1f1b", stages=4, microbatches=6), 4)
    0.3333

    Raises:
        FormulaError: As `bubble_overhead`.
    """
    overhead = bubble_overhead(schedule=schedule, stages=stages, microbatches=microbatches, chunks=chunks)
    return overhead / (1 + overhead)


def microbatches_in_flight(
    *, schedule: Schedule, stages: int, microbatches: int, stage: int = 0, chunks: int = 1
) -> float:
    """Return how many micro-batches' activations a stage holds at its highest point.

    gpipe: m; 1f1b: p - stage; interleaved: (2 (p - stage - 1) + (v - 1) p + 1)/v, which is p + (p - 1)/v on the first
    stage; zb-h1: p, and zb-h2: 2 p - 1, which their weight gradients may wait for. Never more than m.

    Unit:     micro-batches of one stage's activations (a fraction where a chunk is a fraction of the stage)
    Exact?    yes for gpipe, 1f1b and interleaved; a limit for the zero-bubble schedules
    Source:   Narayanan et al. 2021; Korthikanti et al. 2022, section 4.2.3: 1 + (p - 1)/(p v) times the layers'
              activations; Qi et al. 2024, table 2

    >>> [microbatches_in_flight(schedule="1f1b", stages=4, microbatches=6, stage=stage) for stage in range(4)]
    [4, 3, 2, 1]
    >>> microbatches_in_flight(schedule="interleaved", stages=8, microbatches=64, chunks=3)
    10.333333333333334

    Raises:
        FormulaError: As `bubble_overhead`, and for a stage that does not exist.
    """
    _check(schedule, stages, chunks)
    require_whole(1, microbatches=microbatches)
    require_whole(0, stage=stage)
    if stage >= stages:
        raise FormulaError("stage", stage, f"below stages = {stages}")
    if schedule == "interleaved":
        require_divisible("stages", stages, microbatches=microbatches)
        held = 2 * (stages - stage - 1) + (chunks - 1) * stages + 1
        if microbatches == stages:
            held = microbatches * chunks  # all forward passes come first
        return min(held, microbatches * chunks) / chunks
    limits = {"gpipe": microbatches, "1f1b": stages - stage, "zb-h1": stages, "zb-h2": 2 * stages - 1}
    return min(limits[schedule], microbatches)


def pipeline_transfer_bytes(
    *, sequence: int, microbatch: int, hidden: int, microbatches: int, chunks: int = 1, bytes_per_element: int = 2
) -> int:
    """Count the bytes that a middle stage sends in a step: activations forward, their gradients backward.

    Shapes:   (microbatch, sequence, hidden), 2 v m times
    Unit:     bytes
    Exact?    for one tensor between stages; sequence parallelism may cut it by the tensor ranks
    Source:   Narayanan et al. 2021, section 3.2.1

    >>> pipeline_transfer_bytes(sequence=2048, microbatch=1, hidden=4096, microbatches=8)
    268435456

    Raises:
        FormulaError: For sizes below 1.
    """
    require_whole(1, sequence=sequence, microbatch=microbatch, hidden=hidden, microbatches=microbatches)
    require_whole(1, chunks=chunks, bytes_per_element=bytes_per_element)
    return 2 * chunks * microbatches * sequence * microbatch * hidden * bytes_per_element


def _check(schedule: Schedule, stages: int, chunks: int) -> None:
    require_one_of(SCHEDULES, schedule=schedule)
    require_whole(1, stages=stages, chunks=chunks)
    if chunks > 1 and schedule != "interleaved":
        raise FormulaError("chunks", chunks, f"1 in the {schedule} schedule", fix="Only interleaved has chunks.")
