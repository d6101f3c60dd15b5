"""Ring collectives: who sends what, how many bytes, how long."""

from __future__ import annotations

import argparse
import math
from typing import Literal

from trainworthy.explain.arguments import at_least
from trainworthy.explain.bars import time_words
from trainworthy.explain.drawing import Grid, Mark, Svg, columns
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.machine_arguments import link, size_bytes
from trainworthy.explain.registry import subject
from trainworthy.formulas.arguments import ceil_div
from trainworthy.formulas.collective_schedules import Send, ring_schedule
from trainworthy.formulas.collective_times import bus_bandwidth_factor, collective_steps, collective_time_s
from trainworthy.formulas.collectives import ring_bytes_sent, tree_bytes_sent
from trainworthy.hardware import Interconnect
from trainworthy.units import format_si

Kind = Literal["all_reduce", "all_gather", "reduce_scatter"]
_DRAWN = 8  # ranks that a picture has room for
_PAYLOAD = {
    "all_reduce": "the tensor",
    "all_gather": "the gathered result",
    "reduce_scatter": "the whole input of a rank",
}
_SOURCE = "Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms for clusters of workstations, 2009"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("size", nargs="?", type=size_bytes, default="1GB", metavar="SIZE", help="such as 1GB or 25MiB")
    parser.add_argument("--ranks", type=at_least(1), default=8, help="GPUs that take part (default 8)")
    parser.add_argument("--link", type=link, default="nvlink4", metavar="ID", help="such as nvlink4 or ib-ndr")


_EXAMPLES = ("1GB --ranks 8 --link nvlink4", "25MiB --ranks 4 --link pcie4", "14GB --ranks 64 --link ib-ndr")


@subject(
    "all-reduce", summary="every rank gets the sum: ring, bytes, steps, time", group="parallel",
    arguments=_arguments, examples=_EXAMPLES, aliases=("allreduce", "ring-all-reduce", "ring"),
)  # fmt: skip
def all_reduce(options: argparse.Namespace) -> Explanation:
    """Explain an all-reduce."""
    return _explain("all_reduce", options)


@subject(
    "all-gather", summary="every rank gets all parts; FSDP before a layer", group="parallel",
    arguments=_arguments, examples=_EXAMPLES, aliases=("allgather",),
)  # fmt: skip
def all_gather(options: argparse.Namespace) -> Explanation:
    """Explain an all-gather."""
    return _explain("all_gather", options)


@subject(
    "reduce-scatter", summary="every rank gets a part of the sum; FSDP after a layer", group="parallel",
    arguments=_arguments, examples=_EXAMPLES, aliases=("reducescatter",),
)  # fmt: skip
def reduce_scatter(options: argparse.Namespace) -> Explanation:
    """Explain a reduce-scatter."""
    return _explain("reduce_scatter", options)


def _explain(kind: Kind, options: argparse.Namespace) -> Explanation:
    row: Interconnect = options.link
    ranks: int = options.ranks
    # Equal pieces: what is not divisible is padded, as PyTorch does for sharded parameters.
    size = options.size if kind == "all_reduce" else ceil_div(options.size, ranks) * ranks
    sent = ring_bytes_sent(kind=kind, payload_bytes=size, ranks=ranks)
    steps = collective_steps(kind=kind, ranks=ranks)
    rate = row.expected_gb_per_s
    time_s = collective_time_s(
        kind=kind, payload_bytes=size, ranks=ranks, bus_gb_per_s=rate,
        base_latency_s=row.base_latency_us * 1e-6, step_latency_s=row.step_latency_us * 1e-6,
    )  # fmt: skip
    latency_s = time_s - collective_time_s(kind=kind, payload_bytes=size, ranks=ranks, bus_gb_per_s=rate)
    name = kind.replace("_", "-")
    title = f"{format_si(size, 'B')} over {ranks} ranks, {row.id}"
    drawn = min(ranks, _DRAWN)
    others = tuple(other for other in ("all-reduce", "all-gather", "reduce-scatter") if other != name)
    return Explanation(
        title=title,
        result=f"each rank sends {format_si(sent, 'B')} in {steps} steps; about {time_words(time_s)}"
        f" at {rate:g} GB/s" if ranks > 1 else "one rank: nothing is sent",
        steps=_steps(kind, options, size, (latency_s, time_s)),
        diagram="\n".join(_picture(kind, ranks, drawn)),
        svg=_svg(f"{name}, {drawn} ranks", kind, drawn),
        formulas=_formulas(kind),
        notes=_notes(kind, row, time_s, latency_s),
        snippet=_snippet(kind, ranks, size, sent),
        see_also=(*others, "ddp", "fsdp"),
        values={
            "kind": kind, "payload_bytes": size, "ranks": ranks, "link": row.id, "sent_bytes_per_rank": sent,
            "steps": steps, "bus_gb_per_s": rate, "latency_s": latency_s, "time_s": time_s,
            "bus_bandwidth_factor": bus_bandwidth_factor(kind=kind, ranks=ranks),
            "tree_sent_bytes_per_rank": tree_bytes_sent(kind=kind, payload_bytes=size, ranks=ranks)
            if kind == "all_reduce" and ranks <= 4096 else None,
        },
    )  # fmt: skip


def _steps(kind: Kind, options: argparse.Namespace, size: int, times_s: tuple[float, float]) -> tuple[str, ...]:
    row, ranks = options.link, options.ranks
    if ranks == 1:
        return ("One rank has everything already.",)
    latency_s, time_s = times_s
    sent = ring_bytes_sent(kind=kind, payload_bytes=size, ranks=ranks)
    chunk = f"1/{ranks} of {_PAYLOAD[kind]}, {format_si(size / ranks, 'B')}"
    halves = {
        "reduce_scatter": f"Reduce-scatter: in each of {ranks - 1} steps every rank passes a chunk to the next one, "
        f"which adds its own. A chunk is {chunk}. Afterwards rank r has the sum of chunk r.",
        "all_gather": f"All-gather: in each of {ranks - 1} steps every rank passes a finished chunk on, which the next "
        f"one stores. A chunk is {chunk}. Afterwards every rank has all chunks.",
    }
    parts = [halves[half] for half in ("reduce_scatter", "all_gather") if kind in {half, "all_reduce"}]
    factor = "2 x " if kind == "all_reduce" else ""
    return (
        *parts,
        f"Bytes: {factor}({ranks} - 1)/{ranks} x {format_si(size, 'B')} = {format_si(sent, 'B')} sent and received by "
        "every rank, which is the least possible. The number of ranks hardly matters.",
        f"Time: {row.base_latency_us:g} us + {collective_steps(kind=kind, ranks=ranks)} steps x "
        f"{row.step_latency_us:g} us = {time_words(latency_s)}, and {format_si(sent, 'B')} at "
        f"{row.expected_gb_per_s:g} GB/s = {time_words(time_s - latency_s)}.",
    )


def _cells(kind: Kind, ranks: int) -> list[list[str]]:
    """Return a row for each step and a column for each sender: c3+ is added by the receiver, c3 is stored."""
    rows: dict[int, list[str]] = {}
    for send in ring_schedule(kind=kind, ranks=ranks):
        rows.setdefault(send.step, []).append(_word(send))
    return [rows[step] for step in sorted(rows)]


def _word(send: Send) -> str:
    return f"c{send.chunk}{'+' if send.phase == 'reduce_scatter' else ''}"


def _picture(kind: Kind, ranks: int, drawn: int) -> list[str]:
    if ranks == 1:
        return ["rank 0 alone"]
    ring = " ─▶ ".join(f"r{rank}" for rank in range(drawn)) + " ─▶ r0"
    cells = _cells(kind, drawn)
    heads = ["", *(f"r{rank} sends" for rank in range(drawn))]
    if drawn > 4:
        heads = ["sends", *(f"r{rank}" for rank in range(drawn))]
    table = columns([heads, *([f"step {at + 1}", *row] for at, row in enumerate(cells))], align="l")
    more = [f"drawn with {drawn} of {ranks} ranks"] if drawn < ranks else []
    legend = {
        "all_reduce": "c2+: chunk 2, added by the next rank   c2: chunk 2 complete, stored by it",
        "reduce_scatter": "c2+: chunk 2, added by the next rank",
        "all_gather": "c2: chunk 2, stored by the next rank",
    }[kind]
    return [ring, "", *table, "", legend, *more]


def _svg(title: str, kind: Kind, drawn: int) -> str:
    picture = Svg(title=title)
    radius, middle = 70.0, (95.0, 95.0)
    places = [
        (middle[0] + radius * math.sin(2 * math.pi * r / drawn), middle[1] - radius * math.cos(2 * math.pi * r / drawn))
        for r in range(drawn)
    ]
    for rank, (x, y) in enumerate(places):
        picture.cell(x - 17, y - 13, 34, 26, f"r{rank}", mark="strong")
        if drawn > 1:
            x2, y2 = places[(rank + 1) % drawn]
            length = math.hypot(x2 - x, y2 - y)
            ux, uy = (x2 - x) / length * 22, (y2 - y) / length * 22
            picture.line(x + ux, y + uy, x2 - ux, y2 - uy, arrow=True)
    if drawn == 1:
        return picture.render()
    cells = _cells(kind, drawn)
    marks: dict[tuple[int, int], Mark] = {
        (row, column): "added" if word.endswith("+") else "good"
        for row, words in enumerate(cells)
        for column, word in enumerate(words)
    }
    grid = Grid(
        cells=cells, heads=[f"r{rank}" for rank in range(drawn)],
        names=[f"step {at + 1}" for at in range(len(cells))], marks=marks,
    )  # fmt: skip
    picture.grid(grid, x=210, y=10)
    return picture.render()


def _formulas(kind: Kind) -> tuple[Formula, ...]:
    factor = "2 (N - 1)/N" if kind == "all_reduce" else "(N - 1)/N"
    steps = "2 (N - 1)" if kind == "all_reduce" else "N - 1"
    return (
        Formula(text=f"bytes sent by a rank = {factor} S in {steps} steps\nS: {_PAYLOAD[kind]}", source=_SOURCE),
        Formula(
            text=f"time = latency + {factor} S / busbw\nbusbw = algbw x {factor}, algbw = S / time",
            source="nccl-tests, doc/PERFORMANCE.md",
        ),
    )


def _notes(kind: Kind, row: Interconnect, time_s: float, latency_s: float) -> tuple[str, ...]:
    notes = [
        f"{row.id} is stated as {row.gb_per_s_per_direction:g} GB/s in one direction; vendors advertise twice that. "
        + (
            f"NCCL plans with {row.bus_gb_per_s:g} GB/s of bus bandwidth."
            if row.bus_gb_per_s
            else "What collectives reach of it is not known here: measure it with nccl-tests."
        )
    ]
    if kind == "all_reduce":
        notes.append(
            "A tree sends about the same bytes in 2 log2(N) steps: NCCL takes it for small messages over many nodes."
        )
        notes.append("An all-reduce is a reduce-scatter and an all-gather: ZeRO puts the optimizer step in between.")
    if latency_s > 0.5 * time_s > 0:
        notes.append("More than half of the time is latency: send fewer, larger messages (buckets).")
    return tuple(notes)


def _snippet(kind: Kind, ranks: int, size: int, sent: int) -> str:
    drawn = min(ranks, 8)
    lines = [
        "import torch",
        "",
        f"N = {drawn}  # ranks",
        "inputs = torch.arange(N * N).reshape(N, N)  # a row a rank, a column a chunk",
        "have, sent = inputs.clone(), [0] * N",
    ]
    if kind == "all_gather":
        lines[3:5] = ["inputs = torch.arange(N)  # rank r has chunk r", "have, sent = torch.diag(inputs), [0] * N"]
    if kind in {"reduce_scatter", "all_reduce"}:
        lines += [
            "for t in range(N - 1):  # reduce-scatter",
            "    leaving = [have[r, (r - 1 - t) % N].clone() for r in range(N)]",
            "    for r in range(N):",
            "        have[(r + 1) % N, (r - 1 - t) % N] += leaving[r]",
            "        sent[r] += 1",
            "assert all(have[r, r] == inputs[:, r].sum() for r in range(N))",
        ]
    if kind in {"all_gather", "all_reduce"}:
        goal = "inputs.sum(0)" if kind == "all_reduce" else "inputs"
        lines += [
            "for t in range(N - 1):  # all-gather",
            "    leaving = [have[r, (r - t) % N].clone() for r in range(N)]",
            "    for r in range(N):",
            "        have[(r + 1) % N, (r - t) % N] = leaving[r]",
            "        sent[r] += 1",
            f"assert all(torch.equal(have[r], {goal}) for r in range(N))",
        ]
    factor = 2 if kind == "all_reduce" else 1
    lines.append(f"assert sent == [{'2 * ' if factor == 2 else ''}(N - 1)] * N  # chunks")
    if size % ranks == 0 and ranks > 1:
        lines.append(f"assert {factor} * ({ranks} - 1) * {size} // {ranks} == {sent}  # bytes, {ranks} ranks")
    return "\n".join(lines)
