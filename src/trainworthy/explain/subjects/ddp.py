"""DistributedDataParallel: buckets, what overlaps, and what must be the same on every rank."""

from __future__ import annotations

import argparse

from trainworthy.explain.arguments import at_least, count
from trainworthy.explain.bars import time_words
from trainworthy.explain.drawing import Grid, Mark, columns, grids_svg
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.machine_arguments import link, size_bytes
from trainworthy.explain.registry import subject
from trainworthy.formulas.buckets import FIRST_BUCKET_BYTES, ddp_buckets
from trainworthy.formulas.collective_times import collective_time_s
from trainworthy.formulas.collectives import ring_bytes_sent
from trainworthy.units import format_bytes, format_count, format_si

_SAME = (
    ("same", "model, with its parameters in one order", "DDP broadcasts rank 0's weights and compares shapes"),
    ("same", "optimizer, schedule, number of steps", "made after wrapping, from the wrapped model's parameters"),
    ("same", "gradients after backward", "all-reduced to the mean: clip them then, it needs no messages"),
    ("same", "number of batches", "uneven inputs hang the last all-reduce: a sampler, or model.join()"),
    ("differs", "samples", "DistributedSampler; sampler.set_epoch(epoch) before each epoch"),
    ("differs", "random numbers of dropout, augmentation", "seed + rank; initialise all with one seed"),
    ("differs", "BatchNorm statistics", "SyncBatchNorm makes them the same"),
    ("differs", "the printed loss", "it is the rank's own: average it before printing"),
    ("rank 0", "prints, logs, saved checkpoints", "the others wait at a barrier where they need the file"),
)
_MOST_TENSORS = 20000

_FORMULAS = (
    Formula(
        text="a bucket is closed as soon as its bytes reach its limit",
        source="torch/csrc/distributed/c10d/reducer.cpp, compute_bucket_assignment_by_size (torch 2.13)",
    ),
    Formula(
        text="mean over everything = sum over ranks of (n_rank / n) x mean_rank\n"
        "DDP computes the mean of means: the same only if all n_rank are equal",
        source="Li et al., PyTorch Distributed: experiences on accelerating data parallel training, 2020",
    ),
)
_NOTES = (
    "With gradient accumulation wrap all but the last micro-step in model.no_sync(), or every one is all-reduced.",
    "Without sampler.set_epoch(epoch) every epoch has the same order.",
    "Losses that are means over different numbers of tokens need weights: see batch-size.",
    "Unused parameters hang or raise; find_unused_parameters=True costs a walk over the graph.",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--parameters", type=count, default="124M", help="such as 124M or 7e9 (default 124M)")
    parser.add_argument("--tensors", type=at_least(1), default=148, help="parameter tensors (default 148)")
    parser.add_argument("--bucket", type=size_bytes, default="25MiB", help="bucket_cap_mb (default 25MiB)")
    parser.add_argument("--bytes-per-gradient", type=int, choices=(2, 4), default=4, help="default 4")
    parser.add_argument("--ranks", type=at_least(1), default=8, help="default 8")
    parser.add_argument("--link", type=link, default="nvlink4", metavar="ID", help="such as nvlink4 or ib-ndr")


@subject(
    "ddp",
    summary="gradient buckets, set_epoch, what must be the same",
    group="parallel",
    arguments=_arguments,
    examples=("--parameters 124M --ranks 8", "--parameters 7e9 --tensors 291 --ranks 16 --link ib-ndr"),
    aliases=("data-parallel", "distributeddataparallel", "set-epoch"),
)
def ddp(options: argparse.Namespace) -> Explanation:
    """Explain DistributedDataParallel."""
    tensors = min(options.tensors, _MOST_TENSORS, options.parameters)
    whole, rest = divmod(options.parameters, tensors)
    sizes = [(whole + (at < rest)) * options.bytes_per_gradient for at in range(tensors)]
    # In the order in which gradients arrive, the last layers first, as DDP assigns them after its first step.
    arriving = sizes[::-1]
    buckets = ddp_buckets(sizes_bytes=arriving, bucket_bytes=options.bucket)
    filled = [sum(arriving[at] for at in bucket) for bucket in buckets]
    row = options.link
    times = [
        collective_time_s(
            kind="all_reduce", payload_bytes=size, ranks=options.ranks, bus_gb_per_s=row.expected_gb_per_s,
            base_latency_s=row.base_latency_us * 1e-6, step_latency_s=row.step_latency_us * 1e-6,
        )
        for size in filled
    ]  # fmt: skip
    gradient_bytes = sum(sizes)
    sent = ring_bytes_sent(kind="all_reduce", payload_bytes=gradient_bytes, ranks=options.ranks)
    title = f"{format_count(options.parameters)} parameters over {options.ranks} ranks, {row.id}"
    return Explanation(
        title=title,
        result=f"{len(buckets)} bucket{'s' if len(buckets) > 1 else ''}, {format_si(sent, 'B')} sent by each rank a "
        f"step; all-reduces take {time_words(sum(times))}, of which {time_words(times[-1])} cannot hide behind the "
        "backward pass",
        steps=_steps(options, gradient_bytes, sent),
        diagram="\n".join(_picture(filled, times)),
        svg=_svg(title, filled, times),
        formulas=_FORMULAS,
        notes=_NOTES,
        snippet=_snippet(arriving, options.bucket),
        see_also=("all-reduce", "fsdp", "batch-size"),
        values={
            "parameters": options.parameters, "tensors": tensors, "ranks": options.ranks, "link": row.id,
            "buckets": len(buckets), "bucket_bytes": filled, "gradient_bytes": gradient_bytes,
            "sent_bytes_per_rank": sent, "all_reduce_s": times, "exposed_s": times[-1],
            "same_on_every_rank": [what for kind, what, _ in _SAME if kind == "same"],
            "differs_by_rank": [what for kind, what, _ in _SAME if kind == "differs"],
        },
    )  # fmt: skip


def _steps(options: argparse.Namespace, gradient_bytes: int, sent: int) -> tuple[str, ...]:
    return (
        "Wrapping broadcasts rank 0's parameters and buffers: all ranks start equal.",
        "Each rank runs forward and backward on samples of its own.",
        f"Gradients are gathered into buckets of {format_bytes(options.bucket)}, the last layers' first; the first "
        f"bucket is full at {format_bytes(FIRST_BUCKET_BYTES)}, so that sending begins early. A full bucket is "
        "all-reduced at once, while the backward pass goes on.",
        f"Sent: 2 ({options.ranks} - 1)/{options.ranks} x {format_si(gradient_bytes, 'B')} = "
        f"{format_si(sent, 'B')} "
        "a rank. Each bucket's sum is divided by the number of ranks: the mean over ranks of their mean losses.",
        "The last bucket holds the first layers: when it is ready, the backward pass is over and nothing hides it.",
        "Every rank takes the same optimizer step on the same gradients, so weights stay equal without being sent.",
    )


def _picture(filled: list[int], times: list[float]) -> list[str]:
    last = len(filled) - 1
    rows = [
        [f"bucket {at}", format_bytes(size), time_words(times[at]), "ready last, not hidden" if at == last else ""]
        for at, size in enumerate(filled)
    ]
    if len(rows) > 8:
        rows = [*rows[:4], ["...", "", "", ""], *rows[-3:]]
    heads = {"same": "the same on every rank", "differs": "different on each", "rank 0": "on rank 0 alone"}
    lines = ["in the order of the backward pass, the last layers first"]
    lines += columns([["", "bytes", "all-reduce", ""], *rows], align="lrrl")
    for kind, head in heads.items():
        lines += ["", head]
        for group, what, how in _SAME:
            if group == kind:
                lines += [f"  {what}", f"    {how}"]
    return lines


def _svg(title: str, filled: list[int], times: list[float]) -> str:
    last = len(filled) - 1
    shown = list(enumerate(filled))[-12:]
    marks: dict[tuple[int, int], Mark] = {(at, 0): "bad" if i == last else "good" for at, (i, _) in enumerate(shown)}
    grid = Grid(
        cells=[[format_bytes(size), time_words(times[index])] for index, size in shown],
        heads=["bytes", "all-reduce"], names=[f"bucket {index}" for index, _ in shown], marks=marks,
    )  # fmt: skip
    return grids_svg(title, [grid])


def _snippet(sizes: list[int], bucket: int) -> str:
    elements = [size // 4 for size in sizes[:5]]
    few = ddp_buckets(sizes_bytes=[4 * n for n in elements], bucket_bytes=bucket)
    return "\n".join([
        "import torch",
        "from torch._C._distributed_c10d import _compute_bucket_assignment_by_size",
        "",
        "# the first gradients to arrive",
        f"sizes = {elements}",
        'gradients = [torch.empty(n, device="meta") for n in sizes]',
        f"buckets, _ = _compute_bucket_assignment_by_size(gradients, [2**20, {bucket}])",
        f"assert sorted(buckets) == {[list(indices) for indices in few]}",
        "",
        "# the mean of means is not the mean if ranks have different numbers of samples",
        "losses = [torch.ones(64), torch.zeros(16)]",
        "assert torch.stack([x.mean() for x in losses]).mean() == 0.5",
        "assert torch.cat(losses).mean() == 0.8",
    ])  # fmt: skip
