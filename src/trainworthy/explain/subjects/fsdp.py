"""FSDP and ZeRO: what is cut, what is gathered when, memory and bytes."""

from __future__ import annotations

import argparse

from trainworthy.explain.arguments import at_least, count
from trainworthy.explain.bars import Bar, bar_lines, bars_svg, time_words
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.machine_arguments import link
from trainworthy.explain.registry import subject
from trainworthy.formulas.arguments import ceil_div
from trainworthy.formulas.collective_times import collective_time_s
from trainworthy.formulas.collectives import ring_bytes_sent
from trainworthy.formulas.memory import fsdp_transient_bytes, model_states
from trainworthy.units import format_bytes, format_count, format_si

_TIMELINE = (
    "unit      1        2        3      ...     3        2        1",
    "gather    w1  w2   w3   w4                 w2   w1",
    "compute       F1   F2   F3         B3      B2   B1",
    "reduce                                 g3       g2       g1",
)
_FORMULAS = (
    Formula(
        text="bytes a rank = (4 + 4 + 8) N / ranks + gathered units\n"
        "sent = 2 gathers + reduce-scatter = 3 (R - 1)/R N elements; DDP 2 (R - 1)/R N",
        source="Rajbhandari et al., ZeRO, 2020, section 7; Zhao et al., PyTorch FSDP, 2023",
    ),
)
_NOTES = (
    "Wrap layers first and the whole model last; one unit for everything gathers everything at once.",
    "Make the optimizer after fully_shard(model): before it would hold the parameters that are replaced.",
    "Full state dicts gather the model on one rank; save sharded with torch.distributed.checkpoint.",
    "Between nodes share only inside a node (hybrid sharding) if the network is slow: gathers stay on NVLink.",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parameters", nargs="?", type=count, default="8e9", help="such as 8e9 or 70b (default 8e9)")
    parser.add_argument("--ranks", type=at_least(1), default=8, help="ranks that share the parameters (default 8)")
    parser.add_argument(
        "--units", type=at_least(1), default=32, help="modules that are wrapped, as layers (default 32)"
    )
    parser.add_argument("--link", type=link, default="nvlink4", metavar="ID", help="such as nvlink4 or ib-ndr")


@subject(
    "fsdp",
    summary="sharding and ZeRO 1-3: memory, what is gathered, bytes",
    group="parallel",
    arguments=_arguments,
    examples=("8e9 --ranks 8", "70b --ranks 64 --units 80 --link ib-ndr", "1b --ranks 1"),
    aliases=("zero", "sharding", "fully-sharded"),
)
def fsdp(options: argparse.Namespace) -> Explanation:
    """Explain FSDP."""
    n, ranks = options.parameters, options.ranks
    # float32 shards, 16-bit when gathered, as MixedPrecisionPolicy(param_dtype=torch.bfloat16) does.
    stages = [
        model_states(parameters=n, optimizer_bytes_per_parameter=8, precision="amp", zero_stage=stage, ranks=ranks)
        for stage in range(4)
    ]
    unit = ceil_div(n, options.units)
    transient = fsdp_transient_bytes(unit_parameters=unit, ranks=ranks)
    sent = _sent(n, ranks)
    ddp = ring_bytes_sent(kind="all_reduce", payload_bytes=n * 4, ranks=ranks)
    row = options.link
    unit_s = collective_time_s(
        kind="all_gather", payload_bytes=ceil_div(unit, ranks) * ranks * 2, ranks=ranks,
        bus_gb_per_s=row.expected_gb_per_s, base_latency_s=row.base_latency_us * 1e-6,
        step_latency_s=row.step_latency_us * 1e-6,
    )  # fmt: skip
    total = sum(sent.values())
    peak = stages[3].total_bytes + transient
    title = f"{format_count(n)} parameters over {ranks} ranks, {options.units} units, {row.id}"
    bars = _bars([state.total_bytes for state in stages], peak)
    return Explanation(
        title=title,
        result=f"{format_bytes(stages[3].total_bytes)} a rank instead of {format_bytes(stages[0].total_bytes)}, "
        f"{format_bytes(peak)} while at work; {format_si(total, 'B')} sent a step"
        + (f", DDP {format_si(ddp, 'B')}" if ranks > 1 else ""),
        steps=_steps(ranks, unit, unit_s, sent),
        diagram="\n".join([*bar_lines(bars, cells=24), "", *_TIMELINE]),
        svg=bars_svg(title, bars),
        formulas=_FORMULAS,
        notes=_NOTES,
        snippet=_snippet(),
        see_also=("all-gather", "reduce-scatter", "ddp", "adam-memory"),
        values={
            "parameters": n, "ranks": ranks, "units": options.units, "unit_parameters": unit,
            "bytes_by_zero_stage": [state.total_bytes for state in stages], "transient_bytes": transient,
            "peak_state_bytes": peak, "sent_bytes_per_rank": total, "ddp_sent_bytes_per_rank": ddp,
            "unit_gather_s": unit_s, "link": row.id,
        },
    )  # fmt: skip


def _steps(ranks: int, unit: int, unit_s: float, sent: dict[str, int]) -> tuple[str, ...]:
    return (
        f"At rest each rank has 1/{ranks} of every weight, gradient and optimizer state, in float32.",
        f"Before a unit runs its weights are gathered in 16 bits ({format_count(unit)} parameters, "
        f"{format_bytes(unit * 2)}, {time_words(unit_s)}), the next unit's meanwhile; afterwards they are freed.",
        "In the backward pass they are gathered again, and the unit's gradients are reduced and scattered: each "
        "rank keeps the mean of its part.",
        "The optimizer step works on parts alone and sends nothing. Norms of gradients need one small all-reduce.",
        "Bytes: " + ", ".join(f"{name} {format_si(size, 'B')}" for name, size in sent.items()) + ".",
    )


def _sent(parameters: int, ranks: int) -> dict[str, int]:
    """Return what a rank sends in a step: weights in 16 bits, gradients in float32, padded to equal shards."""
    padded = ceil_div(parameters, ranks) * ranks
    gathered = ring_bytes_sent(kind="all_gather", payload_bytes=padded * 2, ranks=ranks)
    return {
        "all-gather, forward": gathered,
        "all-gather, backward": gathered,
        "reduce-scatter, backward": ring_bytes_sent(kind="reduce_scatter", payload_bytes=padded * 4, ranks=ranks),
    }


def _bars(by_stage: list[int], peak: int) -> list[Bar]:
    return [
        Bar("every rank has all (DDP)", by_stage[0], format_bytes(by_stage[0]), "bad"),
        Bar("ZeRO 1: states cut", by_stage[1], format_bytes(by_stage[1])),
        Bar("ZeRO 2: + gradients", by_stage[2], format_bytes(by_stage[2])),
        Bar("ZeRO 3, FSDP: + weights", by_stage[3], format_bytes(by_stage[3]), "good"),
        Bar("  while at work", peak, f"{format_bytes(peak)}, two units gathered", "added"),
    ]


def _snippet() -> str:
    return """\
import torch

R = 4  # ranks
w = torch.arange(10.0).reshape(5, 2)  # a weight
shards = w.chunk(R)  # along dimension 0; the last may have less, or none
assert [s.shape[0] for s in shards] == [2, 2, 1] and len(shards) < R
assert torch.equal(torch.cat(shards), w)  # all-gather

gradients = [torch.full_like(w, r) for r in range(R)]  # one a rank
mean = torch.stack(gradients).mean(0)
mine = [g.chunk(R)[0] for g in gradients]  # reduce-scatter, to rank 0
assert torch.equal(torch.stack(mine).mean(0), mean.chunk(R)[0])"""
