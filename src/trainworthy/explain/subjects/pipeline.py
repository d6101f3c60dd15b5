"""Pipeline parallelism: the schedule, its bubble, and what each stage holds."""

from __future__ import annotations

import argparse
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.explain.arguments import at_least
from trainworthy.explain.drawing import MAX_WIDTH, Grid, Mark, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.registry import subject
from trainworthy.formulas.pipeline import (
    SCHEDULES,
    Schedule,
    bubble_overhead,
    bubble_share,
    microbatches_in_flight,
    pipeline_bubble,
)
from trainworthy.formulas.pipeline_schedules import Task, pipeline_schedule

_FORMULAS: dict[Schedule, Formula] = {
    "gpipe": Formula(text="bubble = (p - 1)(F + B); share = (p - 1)/(m + p - 1)", source="Huang et al., GPipe, 2019"),
    "1f1b": Formula(
        text="bubble = (p - 1)(F + B); share = (p - 1)/(m + p - 1)\nheld by stage s: p - s micro-batches",
        source="Narayanan et al., Efficient large-scale language model training on GPU clusters, 2021, section 2.2",
    ),
    "interleaved": Formula(
        text="bubble = (p - 1)(F + B)/v\nheld by the first stage: p + (p - 1)/v micro-batches",
        source="Narayanan et al. 2021, section 2.2; Korthikanti et al. 2022, section 4.2.3",
    ),
    "zb-h1": Formula(
        text="bubble = (p - 1)(F + B - W), B for inputs, W for weights", source="Qi et al., Zero bubble, 2024, table 2"
    ),
    "zb-h2": Formula(
        text="bubble = 0 if the optimizer step waits for no other stage; 2 p - 1 micro-batches held",
        source="Qi et al., Zero bubble, 2024, table 2",
    ),
}
_WHAT: dict[Schedule, str] = {
    "gpipe": "all forward passes, then all backward passes; every micro-batch's activations are held at once",
    "1f1b": "after a warm-up one forward and one backward pass in turn, so that few activations are held",
    "interleaved": "each stage has several chunks of layers, so that a micro-batch visits it several times",
    "zb-h1": "backward passes are split; gradients of weights (W), which nobody waits for, fill the gaps",
    "zb-h2": "as zb-h1, with more forward passes at the start: twice the memory, no bubble",
}
_MARKS: dict[str, Mark] = {"F": "strong", "B": "good", "W": "added"}
_MOST_UNITS = 400  # of an SVG


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stages", type=at_least(1), default=4, help="pipeline stages (default 4)")
    parser.add_argument("--microbatches", type=at_least(1), default=6, help="micro-batches of a step (default 6)")
    parser.add_argument("--schedule", choices=SCHEDULES, default="1f1b", help="default 1f1b")
    parser.add_argument("--chunks", type=at_least(1), help="chunks a stage, interleaved only (default 2)")


@subject(
    "pipeline",
    summary="GPipe, 1F1B, interleaved, zero-bubble drawn; bubbles",
    group="parallel",
    arguments=_arguments,
    examples=(
        "--stages 4 --microbatches 6", "--stages 4 --microbatches 6 --schedule gpipe",
        "--stages 4 --microbatches 8 --schedule interleaved --chunks 2",
        "--stages 4 --microbatches 8 --schedule zb-h1", "--stages 16 --microbatches 128",
    ),
    aliases=("pipeline-parallel", "1f1b", "bubble"),
)  # fmt: skip
def pipeline(options: argparse.Namespace) -> Explanation:
    """Explain a pipeline schedule."""
    schedule: Schedule = options.schedule
    stages, m = options.stages, options.microbatches
    chunks = options.chunks or (2 if schedule == "interleaved" else 1)
    if schedule == "interleaved" and m % stages:
        raise UsageError(
            f"The interleaved schedule needs micro-batches ({m}) that the stages ({stages}) divide.",
            where="--microbatches", fix=f"Take {-(-m // stages) * stages}.",
        )  # fmt: skip
    tasks = pipeline_schedule(schedule=schedule, stages=stages, microbatches=m, chunks=chunks)
    size: dict[str, Any] = {"schedule": schedule, "stages": stages, "microbatches": m, "chunks": chunks}
    end = max(task.end for task in tasks)
    idle = end - 3.0 * m  # of each stage, from the schedule itself
    held = [microbatches_in_flight(**size, stage=stage) for stage in range(stages)]
    enough = m >= {"zb-h1": stages, "zb-h2": 2 * stages - 1}.get(schedule, 1)
    share = bubble_share(**size) if enough else idle / end
    title = f"{schedule}, {stages} stages, {m} micro-batches" + (f", {chunks} chunks" if chunks > 1 else "")
    return Explanation(
        title=title,
        result=f"bubble {share:.1%} of the step, {share / (1 - share):.1%} on top of the work; the first stage holds "
        f"{held[0]:.4g} micro-batches",
        steps=(
            f"{schedule}: {_WHAT[schedule]}.",
            _bubble_step(options, chunks, share, enough),
            f"Micro-batches held at the highest point, stage by stage: {_few([f'{n:.4g}' for n in held])}.",
            f"Units of time: a forward pass is 1, a whole backward pass 2; the step takes {end:g}, of which each stage "
            f"works {3 * m}.",
        ),
        diagram="\n".join(_lines(tasks, stages, chunks)),
        svg=_svg(title, tasks, stages, chunks),
        formulas=(_FORMULAS[schedule],),
        notes=_notes(schedule, stages, m),
        snippet=_snippet(schedule, stages, m, end),
        see_also=("checkpointing", "all-reduce", "flops"),
        values={
            "schedule": schedule, "stages": stages, "microbatches": m, "chunks": chunks, "bubble_share": share,
            "step_units": end, "idle_units": idle, "held_microbatches": held,
            "schedule_tasks": [task._asdict() for task in tasks[:2000]],
        },
    )  # fmt: skip


def _bubble_step(options: argparse.Namespace, chunks: int, share: float, enough: bool) -> str:
    schedule: Schedule = options.schedule
    stages, m = options.stages, options.microbatches
    if not enough:
        return f"Bubble: with so few micro-batches the schedule cannot fill its gaps; {share:.1%} of the step is idle."
    bubble = pipeline_bubble(schedule=schedule, stages=stages, chunks=chunks)
    overhead = bubble_overhead(schedule=schedule, stages=stages, microbatches=m, chunks=chunks)
    whole = f" ({stages - 1}/({m} + {stages - 1}) = {share:.3f} of the step)" if schedule in {"gpipe", "1f1b"} else ""
    return f"Bubble: {bubble:g} units idle beside {3 * m} units of work: {overhead:.3f} of it{whole}."


def _few(words: list[str]) -> str:
    return ", ".join(words if len(words) <= 10 else [*words[:5], "...", *words[-4:]])


def _units(tasks: tuple[Task, ...], stage: int, chunks: int) -> list[str]:
    """Return what a stage does in each unit of time; a unit is a forward pass of a chunk."""
    units = [""] * round(max(task.end for task in tasks) * chunks)
    for task in tasks:
        if task.stage == stage:
            for at in range(round(task.start * chunks), round(task.end * chunks)):
                letter = task.work if task.chunk % 2 == 0 else task.work.lower()
                units[at] = f"{letter}{task.microbatch + 1}"
    return units


def _lines(tasks: tuple[Task, ...], stages: int, chunks: int) -> list[str]:
    rows = [_units(tasks, stage, chunks) for stage in range(min(stages, 16))]
    label = len(str(stages - 1)) + 2
    cell = max(len(word) for row in rows for word in row)
    if cell * len(rows[0]) > MAX_WIDTH - label - 1:
        cell = 1  # letters without numbers
    room = (MAX_WIDTH - label - 1) // cell
    lines = []
    for stage, row in enumerate(rows):
        shown = "".join((word or "·").ljust(cell)[:cell] for word in row[:room])
        lines.append(f"s{stage}".ljust(label) + shown.rstrip() + ("…" if len(row) > room else ""))
    kinds = "F forward, B backward" + (", W gradients of weights" if any(t.work == "W" for t in tasks) else "")
    lines += ["", f"{kinds}; · idle" + ("; f, b: every second chunk" if chunks > 1 else "")]
    if cell > 1:
        lines[-1] += "; by micro-batch"
    if len(rows[0]) > room:
        lines.append(f"the first {room} of {len(rows[0])} units of time")
    if stages > 16:
        lines.append(f"16 of {stages} stages")
    return lines


def _svg(title: str, tasks: tuple[Task, ...], stages: int, chunks: int) -> str:
    rows = [_units(tasks, stage, chunks)[:_MOST_UNITS] for stage in range(min(stages, 32))]
    marks: dict[tuple[int, int], Mark] = {
        (at, column): _MARKS[word[0].upper()] if word else "faint"
        for at, row in enumerate(rows)
        for column, word in enumerate(row)
    }
    names = [f"stage {stage}" for stage in range(len(rows))]
    return grids_svg(title, [Grid(cells=rows, names=names, marks=marks)], size=22)


def _notes(schedule: Schedule, stages: int, microbatches: int) -> tuple[str, ...]:
    notes = [
        "Stages are taken to be equal and transfers hidden. The first stage has the embedding, the last one the logits "
        "and the loss: balance layers accordingly."
    ]
    if microbatches < 4 * stages and schedule in {"gpipe", "1f1b"}:
        notes.append(f"With {4 * stages} micro-batches the bubble would be {(stages - 1) / (5 * stages - 1):.0%}.")
    if schedule == "gpipe":
        notes.append("1f1b has the same bubble and holds at most p micro-batches; GPipe is nearly always paired with "
                     "checkpointing.")  # fmt: skip
    return tuple(notes)


def _snippet(schedule: Schedule, stages: int, m: int, end: float) -> str:
    if schedule not in {"gpipe", "1f1b"}:
        return "\n".join([
            "from trainworthy.formulas.pipeline_schedules import pipeline_schedule",
            "",
            f'tasks = pipeline_schedule(schedule="{schedule}", stages={stages},',
            f"                          microbatches={m}"
            + (", chunks=2)" if schedule == "interleaved" else ")"),
            "done = {(t.stage, t.work, t.microbatch, t.chunk) for t in tasks}",
            "assert len(done) == len(tasks)",
            f"assert max(t.end for t in tasks) <= {end:g}",
        ])  # fmt: skip
    ahead = "m" if schedule == "gpipe" else "min(p - s - 1, m)"
    return "\n".join([
        f"p, m = {stages}, {m}",
        "",
        "def order(s):  # of a stage: so many forward passes ahead, then in turn",
        f"    k = {ahead}",
        "    turns = [x for i in range(m - k) for x in ((\"F\", k + i), (\"B\", i))]",
        '    rest = [("B", i) for i in range(m - k, m)]',
        '    return [("F", i) for i in range(k)] + turns + rest',
        "",
        "end, free, left = {}, [0] * p, [order(s) for s in range(p)]",
        "while any(left):",
        "    for s in range(p):",
        "        if not left[s]:",
        "            continue",
        "        work, i = left[s][0]",
        '        need = ("F", i, s - 1) if work == "F" else ("B", i, s + 1)',
        "        if not 0 <= need[2] < p:",
        '            need = None if work == "F" else ("F", i, s)',
        "        if need is None or need in end:",
        '            start = max(free[s], end.get(need, 0))',
        '            free[s] = end[work, i, s] = start + (1 if work == "F" else 2)',
        "            left[s].pop(0)",
        "",
        f"assert max(free) == {end:g} == 3 * (m + p - 1)",
    ])  # fmt: skip
