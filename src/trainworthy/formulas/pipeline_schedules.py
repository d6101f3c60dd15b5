"""The schedules of `pipeline` as data: which stage does what when, so that they can be drawn.

Every stage has an order of its own; a task begins when the stage is free and what it needs has come: the forward pass
of the stage before, the backward pass of the stage after. Transfers take no time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from trainworthy.errors import FormulaError
from trainworthy.formulas.arguments import require_divisible, require_one_of, require_whole
from trainworthy.formulas.pipeline import SCHEDULES, Schedule

Work = Literal["F", "B", "W"]
MOST_TASKS = 200_000


class Task(NamedTuple):
    """A stage does ``work`` for a micro-batch from ``start`` to ``end``; F and B of ``chunk`` take 1/v as long.

    F is a forward pass. B is a backward pass, or in the zero-bubble schedules its half for the inputs; W is the other
    half.
    """

    stage: int
    start: float
    end: float
    work: Work
    microbatch: int
    chunk: int = 0


class _Key(NamedTuple):
    work: Work
    microbatch: int
    position: int  # of the chunk of layers in the whole model


@dataclass(slots=True)
class _Stage:
    order: list[_Key]
    """Forward and backward passes that are left, the next one last."""
    waiting: list[_Key] = field(default_factory=list)
    """Weight gradients that may be computed."""
    clock: float = 0.0
    held: int = 0
    """Micro-batches whose activations are held."""


def pipeline_schedule(
    *, schedule: Schedule, stages: int, microbatches: int, chunks: int = 1,
    forward: float = 1.0, input_backward: float = 1.0, weight_backward: float = 1.0,
) -> tuple[Task, ...]:  # fmt: skip
    """List every task of a step, by start and then by stage.

    Unit:     that of the given times; by default a forward pass takes 1 and a whole backward pass 2
    Exact?    for equal stages; zero-bubble schedules are built by a rule: a weight gradient fills a gap, or makes room
              when as many activations are held as the schedule allows
    Source:   Huang et al. 2019; Narayanan et al. 2021, figure 4; Qi et al. 2024, figures 2 and 3

    >>> for task in pipeline_schedule(schedule="1f1b", stages=2, microbatches=2):
    ...     print(task.stage, task.start, task.end, task.work, task.microbatch)
    0 0.0 1.0 F 0
    0 1.0 2.0 F 1
    1 1.0 2.0 F 0
    1 2.0 4.0 B 0
    0 4.0 6.0 B 0
    1 4.0 5.0 F 1
    1 5.0 7.0 B 1
    0 7.0 9.0 B 1

    Raises:
        FormulaError: For sizes below 1, an unknown schedule, chunks without interleaving, micro-batches that the
        stages do
            not divide in the interleaved one, or more than 200,000 tasks.
    """
    require_one_of(SCHEDULES, schedule=schedule)
    require_whole(1, stages=stages, microbatches=microbatches, chunks=chunks)
    if chunks > 1 and schedule != "interleaved":
        raise FormulaError("chunks", chunks, f"1 in the {schedule} schedule", fix="Only interleaved has chunks.")
    if schedule == "interleaved":
        require_divisible("stages", stages, microbatches=microbatches)
    if stages * microbatches * chunks * 3 > MOST_TASKS:
        raise FormulaError("microbatches", microbatches, f"small enough for {MOST_TASKS:,} tasks")
    splits = schedule in {"zb-h1", "zb-h2"}
    durations: dict[Work, float] = {
        "F": forward / chunks,
        "B": (input_backward if splits else input_backward + weight_backward) / chunks,
        "W": weight_backward / chunks,
    }
    limit = {"zb-h1": stages, "zb-h2": 2 * stages - 1}.get(schedule, 0)
    orders = [_order(schedule, stages, microbatches, chunks, stage) for stage in range(stages)]
    return _simulate([_Stage(order[::-1]) for order in orders], durations, last=stages * chunks - 1, held_limit=limit)


def _order(schedule: Schedule, stages: int, microbatches: int, chunks: int, stage: int) -> list[_Key]:
    """Return forward and backward passes of a stage in its order; weight gradients are fitted in later."""
    total = microbatches * chunks
    ahead = {  # forward passes before the first backward pass; with the one before each backward pass, one more
        "gpipe": total,
        "1f1b": stages - stage - 1,
        "interleaved": total if microbatches == stages else 2 * (stages - stage - 1) + (chunks - 1) * stages,
        "zb-h1": stages - stage - 1,
        "zb-h2": 2 * (stages - stage - 1),
    }[schedule]
    ahead = min(ahead, total)
    forwards = [_forward_key(index, stages, chunks, stage) for index in range(total)]
    backwards = [_backward_key(index, stages, chunks, stage) for index in range(total)]
    order = forwards[:ahead]
    for index in range(total - ahead):
        order += (forwards[ahead + index], backwards[index])
    return order + backwards[total - ahead :]


def _forward_key(index: int, stages: int, chunks: int, stage: int) -> _Key:
    """Groups of ``stages`` micro-batches go through a chunk before they go on to the next one."""
    chunk = index // stages % chunks
    return _Key(
        "F", index // (stages * chunks) * stages + index % stages if chunks > 1 else index, chunk * stages + stage
    )


def _backward_key(index: int, stages: int, chunks: int, stage: int) -> _Key:
    chunk = chunks - 1 - index // stages % chunks
    return _Key(
        "B", index // (stages * chunks) * stages + index % stages if chunks > 1 else index, chunk * stages + stage
    )


def _simulate(stages: list[_Stage], durations: dict[Work, float], *, last: int, held_limit: int) -> tuple[Task, ...]:
    """Run every stage's order; ``held_limit`` above 0 splits backward passes and fits weight gradients in."""
    ends: dict[_Key, float] = {}
    tasks: list[Task] = []
    while any(stage.order or stage.waiting for stage in stages):
        choices = [
            (choice[0], number, choice[1])
            for number, stage in enumerate(stages)
            if (choice := _choose(stage, ends, last=last, held_limit=held_limit, weight_time=durations["W"]))
            is not None
        ]
        start, number, key = min(choices, key=lambda choice: choice[:2])
        stage = stages[number]
        end = ends[key] = stage.clock = start + durations[key.work]
        tasks.append(Task(number, start, end, key.work, key.microbatch, key.position // len(stages)))
        if key.work == "W":
            stage.waiting.remove(key)
            stage.held -= 1
            continue
        stage.order.pop()
        if key.work == "F":
            stage.held += 1
        elif held_limit:
            stage.waiting.append(key._replace(work="W"))
    return tuple(sorted(tasks, key=lambda task: (task.start, task.stage)))


def _choose(
    stage: _Stage, ends: dict[_Key, float], *, last: int, held_limit: int, weight_time: float
) -> tuple[float, _Key] | None:
    """Return when a stage can do something next, and what; None if it waits for something not placed yet."""
    if stage.order:
        key = stage.order[-1]
        ready = _ready(key, ends, last)
        is_full = key.work == "F" and 0 < held_limit <= stage.held and stage.waiting
        if ready is not None and not is_full and (ready <= stage.clock or not stage.waiting):
            return max(stage.clock, ready), key
        if ready is not None and key.work == "B" and ready < stage.clock + weight_time:
            return ready, key  # the gap is too short for a weight gradient, and other stages wait for this one
    return (stage.clock, stage.waiting[0]) if stage.waiting else None


def _ready(key: _Key, ends: dict[_Key, float], last: int) -> float | None:
    if key.work == "F":
        return 0.0 if key.position == 0 else ends.get(key._replace(position=key.position - 1))
    if key.position == last:
        return ends.get(key._replace(work="F"))
    return ends.get(key._replace(position=key.position + 1))
