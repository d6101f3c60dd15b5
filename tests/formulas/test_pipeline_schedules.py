from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.pipeline import SCHEDULES, microbatches_in_flight, pipeline_bubble
from trainworthy.formulas.pipeline_schedules import Task, pipeline_schedule


@st.composite
def pipelines(draw: st.DrawFn) -> dict[str, Any]:
    schedule, stages = draw(st.sampled_from(SCHEDULES)), draw(st.integers(1, 6))
    size: dict[str, Any] = {"schedule": schedule, "stages": stages, "microbatches": draw(st.integers(1, 14))}
    if schedule == "interleaved":
        size |= {"microbatches": stages * draw(st.integers(1, 4)), "chunks": draw(st.integers(1, 3))}
    return size


def of_stage(tasks: tuple[Task, ...], stage: int) -> list[Task]:
    return [task for task in tasks if task.stage == stage]


@settings(max_examples=200)
@given(pipelines())
def test_every_task_is_done_once_after_what_it_needs(size: dict[str, Any]) -> None:
    tasks = pipeline_schedule(**size)
    stages, chunks, split = size["stages"], size.get("chunks", 1), size["schedule"].startswith("zb")
    by_key = {(task.work, task.microbatch, task.chunk * stages + task.stage): task for task in tasks}
    assert len(by_key) == len(tasks) == stages * size["microbatches"] * chunks * (3 if split else 2)
    last = stages * chunks - 1
    for (work, microbatch, position), task in by_key.items():
        needed: Any = {
            "F": ("F", position - 1) if position else None,
            "B": ("B", position + 1) if position < last else ("F", position),
            "W": ("B", position),
        }[work]
        if needed is not None:
            assert by_key[needed[0], microbatch, needed[1]].end <= task.start + 1e-9
    for stage in range(stages):
        for one, next_one in pairwise(of_stage(tasks, stage)):
            assert one.end <= next_one.start + 1e-9


@settings(max_examples=200)
@given(pipelines())
def test_idle_time_and_what_is_held_are_the_formulas(size: dict[str, Any]) -> None:
    tasks = pipeline_schedule(**size)
    schedule, stages = size["schedule"], size["stages"]
    enough = {"zb-h1": stages, "zb-h2": 2 * stages - 1}.get(schedule, 1)
    finish = "W" if schedule.startswith("zb") else "B"
    end = max(task.end for task in tasks)
    for stage in range(stages):
        mine = of_stage(tasks, stage)
        busy = sum(task.end - task.start for task in mine)
        span = mine[-1].end - mine[0].start if schedule == "zb-h2" else end
        if size["microbatches"] >= enough:
            bubble = pipeline_bubble(schedule=schedule, stages=stages, chunks=size.get("chunks", 1))
            assert span - busy == pytest.approx(bubble, abs=1e-9)
        held = most = 0
        for task in mine:
            held += (task.work == "F") - (task.work == finish)
            most = max(most, held)
        limit = microbatches_in_flight(**size, stage=stage) * size.get("chunks", 1)
        assert held == 0
        assert most == pytest.approx(limit) if finish == "B" else most <= limit


def drawn(tasks: tuple[Task, ...], stage: int) -> str:
    """Draw a stage as the papers do: one letter a unit of time, numbers from 1."""
    cells = ["."] * round(max(task.end for task in tasks))
    for task in of_stage(tasks, stage):
        for at in range(round(task.start), round(task.end)):
            cells[at] = task.work + str(task.microbatch + 1)
    return " ".join(cells)


def test_golden_of_1f1b() -> None:
    # Narayanan et al. 2021, figure 4 (top), with 4 stages and 6 micro-batches: the first and the last stage.
    tasks = pipeline_schedule(schedule="1f1b", stages=4, microbatches=6)
    assert drawn(tasks, 0) == (
        "F1 F2 F3 F4 . . . . . . B1 B1 F5 B2 B2 F6 B3 B3 . B4 B4 . B5 B5 . B6 B6"
    )  # fmt: skip
    assert drawn(tasks, 3) == (
        ". . . F1 B1 B1 F2 B2 B2 F3 B3 B3 F4 B4 B4 F5 B5 B5 F6 B6 B6 . . . . . ."
    )  # fmt: skip


def test_golden_of_zero_bubble_h1() -> None:
    # Qi et al. 2024, figure 3 (top): 4 stages, 8 micro-batches, F = B = W; 27 units instead of 33.
    tasks = pipeline_schedule(schedule="zb-h1", stages=4, microbatches=8)
    assert max(task.end for task in tasks) == 27
    assert max(task.end for task in pipeline_schedule(schedule="1f1b", stages=4, microbatches=8)) == 33


def test_nonsense_is_refused() -> None:
    for changed, message in (
        ({"stages": 0}, "stages is 0"), ({"microbatches": 10**6}, "200,000 tasks"), ({"chunks": 2}, "chunks is 2"),
        ({"schedule": "interleaved", "microbatches": 6}, "divisible by stages = 4"),
        ({"schedule": "x"}, "schedule is 'x'"),
    ):  # fmt: skip
        call: dict[str, Any] = {"schedule": "1f1b", "stages": 4, "microbatches": 8, **changed}
        with pytest.raises(FormulaError, match=message):
            pipeline_schedule(**call)
