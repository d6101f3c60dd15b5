"""Softmax and normalisations: passes over memory, and the online algorithms that save some."""

from __future__ import annotations

import argparse

from trainworthy.explain.arguments import at_least
from trainworthy.explain.bars import Bar, bar_lines, bars_svg, time_words
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.machine_arguments import add_gpu
from trainworthy.explain.registry import subject
from trainworthy.formulas.flops import pass_flops
from trainworthy.formulas.normalisation import memory_passes, normalisation_bytes
from trainworthy.formulas.roofline import arithmetic_intensity, memory_time_s
from trainworthy.units import format_si

_ALGORITHMS = {
    "softmax": (
        ("naive", "sum of exponentials; divide: overflows in float16 from 11.1 on, in float32 from 88.8"),
        ("safe", "maximum; sum of exp(x - maximum); divide"),
        ("online", "maximum and sum in one pass; divide"),
        ("fused", "the row stays on the chip: one read, one write"),
    ),
    "layer_norm": (
        ("two_pass", "mean; variance; normalise"),
        ("sum_of_squares", "sum and sum of squares in one pass: loses digits where the mean is large"),
        ("welford", "mean and variance in one pass, stably; normalise"),
        ("fused", "the row stays on the chip: one read, one write"),
    ),
    "rms_norm": (
        ("two_pass", "mean of squares; normalise: no mean to subtract"),
        ("fused", "the row stays on the chip: one read, one write"),
    ),
}
_SOURCES = {
    "softmax": Formula(
        text="m' = max(m, x)\nd' = d exp(m - m') + exp(x - m')      softmax(x) = exp(x - m)/d",
        source="Milakov and Gimelshein, Online normalizer calculation for softmax, 2018, algorithm 3",
    ),
    "layer_norm": Formula(
        text="mean += (x - mean)/n\nM2 += (x - old mean)(x - mean)        variance = M2/n",
        source="Welford, Note on a method for calculating corrected sums of squares and products, 1962",
    ),
    "rms_norm": Formula(
        text="x / sqrt(mean(x^2) + eps) x weight",
        source="Zhang and Sennrich, Root mean square layer normalization, 2019",
    ),
}

_NOTES = (
    "Written out in PyTorch, x.mean(), x.var(), (x - mean) * ... each read and write whole tensors: use "
    "F.layer_norm, F.softmax, or torch.compile.",
    "Sums are kept in float32 whatever the inputs are.",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", nargs="?", choices=tuple(_ALGORITHMS), default="layer_norm", help="default layer_norm")
    parser.add_argument("--rows", type=at_least(1), default=8192, help="default 8192")
    parser.add_argument("--columns", type=at_least(1), default=4096, help="length of a row (default 4096)")
    parser.add_argument("--bytes", type=int, choices=(2, 4), default=2, help="of an element (default 2)")
    add_gpu(parser)


@subject(
    "layer-norm",
    summary="passes of norms and softmax over memory; Welford, online",
    group="cost",
    arguments=_arguments,
    examples=("layer_norm", "softmax --rows 8192 --columns 128256 --bytes 4", "rms_norm --gpu a100-sxm-80gb"),
    aliases=("softmax-passes", "rms-norm", "welford", "normalisation", "online-softmax"),
)
def layer_norm(options: argparse.Namespace) -> Explanation:
    """Explain the passes of a normalisation."""
    elements = options.rows * options.columns
    bars, lines = [], []
    moved: dict[str, int] = {}
    for algorithm, what in _ALGORITHMS[options.kind]:
        reads, writes = memory_passes(kind=options.kind, algorithm=algorithm)
        moved[algorithm] = normalisation_bytes(
            rows=options.rows, columns=options.columns, kind=options.kind, algorithm=algorithm,
            bytes_per_element=options.bytes,
        )  # fmt: skip
        time_s = memory_time_s(moved_bytes=moved[algorithm], memory_gb_per_s=options.gpu.memory_gb_per_s)
        words = f"{reads} read{'s' if reads > 1 else ''} + {writes} write, {time_words(time_s)}"
        bars.append(Bar(algorithm, reads + writes, words, "good" if algorithm == "fused" else "strong"))
        lines.append(f"{algorithm}: {what}.")
    flops = pass_flops(kind=options.kind, elements=elements)
    intensity = arithmetic_intensity(flops=flops, moved_bytes=moved["fused"])
    slowest, best = max(moved.values()), moved["fused"]
    title = f"{options.kind} of ({options.rows}, {options.columns}), {options.bytes} B an element, {options.gpu.id}"
    best_s = memory_time_s(moved_bytes=best, memory_gb_per_s=options.gpu.memory_gb_per_s)
    return Explanation(
        title=title,
        result=f"fused {format_si(best, 'B')}, {time_words(best_s)} at least; in separate passes up to "
        f"{slowest / best:g} times as much; {intensity:.2g} FLOP/B, always memory bound",
        steps=(
            *lines,
            f"Arithmetic: {flops // elements} FLOPs an element, {intensity:.2g} FLOP/B: bytes are all that counts.",
            "Parts of a row can be joined in any order: that is how a GPU splits a long row, how fused attention works "
            "on blocks of keys, and how synchronised batch norm joins ranks.",
        ),
        diagram="\n".join(["passes over a row that does not fit on the chip", *bar_lines(bars, cells=16)]),
        svg=bars_svg(title, bars),
        formulas=(_SOURCES[options.kind],),
        notes=_NOTES,
        snippet=_snippet(options.kind),
        see_also=("roofline", "mixed-precision", "flops"),
        values={
            "kind": options.kind, "rows": options.rows, "columns": options.columns, "moved_bytes": moved,
            "flops": flops, "intensity_flop_per_byte": intensity, "fused_s": best_s, "gpu": options.gpu.id,
        },
    )  # fmt: skip


def _snippet(kind: str) -> str:
    if kind == "softmax":
        return """\
import math
import torch

x = torch.tensor([1.0, 3.0, 2.0, 100.0], dtype=torch.float64)
m, d = -math.inf, 0.0
for value in x.tolist():  # one pass
    new = max(m, value)
    d, m = d * math.exp(m - new) + math.exp(value - new), new
assert torch.allclose((x - m).exp() / d, x.softmax(0))
assert x.float().exp().isinf().any()  # without the maximum it overflows"""
    if kind == "rms_norm":
        return """\
import torch
import torch.nn.functional as F

x = torch.randn(4, 8)
mine = x * (x.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt()
assert torch.allclose(mine, F.rms_norm(x, (8,), eps=1e-5), atol=1e-6)"""
    return """\
import torch
import torch.nn.functional as F

x = torch.tensor([4.0, 7.0, 13.0, 16.0], dtype=torch.float64) + 1e9
mean = m2 = 0.0
for n, value in enumerate(x.tolist(), start=1):  # one pass
    distance = value - mean
    mean += distance / n
    m2 += distance * (value - mean)
mine = (x - mean) / (m2 / len(x) + 1e-5) ** 0.5
assert torch.allclose(mine, F.layer_norm(x, (4,)))
naive = x.pow(2).mean() - x.mean() ** 2
assert abs(m2 / 4 - 22.5) < 1e-9 < abs(naive - 22.5)  # digits are lost"""
