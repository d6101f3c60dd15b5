"""The roofline of a GPU, with operations of a training step under it."""

from __future__ import annotations

import argparse

from trainworthy.errors import UsageError
from trainworthy.explain.arguments import number
from trainworthy.explain.bars import time_words
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.machine_arguments import add_gpu
from trainworthy.explain.registry import subject
from trainworthy.explain.roof import Roof, roof_lines, roof_svg
from trainworthy.explain.subjects.matmul import BYTES
from trainworthy.formulas.attention_flops import attention_bytes, attention_flops
from trainworthy.formulas.flops import elementwise_bytes, elementwise_flops, matmul_bytes, matmul_flops, pass_flops
from trainworthy.formulas.normalisation import normalisation_bytes
from trainworthy.formulas.roofline import arithmetic_intensity, attainable_tflops, bound, roofline_time_s
from trainworthy.hardware import Gpu
from trainworthy.units import format_flops, format_si

_FORMULAS = (
    Formula(
        text="attainable FLOP/s = min(peak, intensity x bandwidth)\nridge = peak / bandwidth",
        source="Williams, Waterman and Patterson, Roofline: an insightful visual performance model, 2009",
    ),
    Formula(
        text="time >= max(FLOPs / peak, bytes / bandwidth)",
        source="NVIDIA, GPU performance background user's guide: math and memory bounds",
    ),
)
_NOTES = (
    "Peaks are dense; vendors also print twice as much for sparse matrices.",
    "Kernels reach 73 to 94 % of the stated bandwidth and 70 to 90 % of the peak: the measured roof is lower.",
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--flops", type=number, help="FLOPs of an operation, such as 2e12")
    parser.add_argument("--bytes", type=number, help="bytes that it reads and writes, such as 1.5e9")
    parser.add_argument("--dtype", choices=tuple(BYTES), default="bf16", help="type (default bf16)")
    add_gpu(parser)


@subject(
    "roofline",
    summary="arithmetic intensity under the roof of a GPU",
    group="cost",
    arguments=_arguments,
    examples=(
        "--gpu a100-sxm-80gb",
        "--flops 2e12 --bytes 1.5e9 --gpu h100-sxm-80gb",
        "--dtype fp16 --gpu t4-pcie-16gb",
    ),
    aliases=("arithmetic-intensity", "ops-to-byte"),
)  # fmt: skip
def roofline(options: argparse.Namespace) -> Explanation:
    """Explain the roofline of a GPU."""
    row: Gpu = options.gpu
    peak = row.peak_tflops(options.dtype)
    if peak is None:
        raise UsageError(
            f"{row.id} has no unit for {options.dtype} products.", where="--dtype",
            fix=f"It has {', '.join(row.peaks_tflops)}.",
        )  # fmt: skip
    if (options.flops is None) != (options.bytes is None):
        raise UsageError("--flops and --bytes go together.", where="explain roofline")
    if options.flops is None:
        points = _usual_operations(BYTES[options.dtype])
    else:
        points = (("this operation", arithmetic_intensity(flops=options.flops, moved_bytes=options.bytes)),)
    roof = Roof(peak, row.memory_gb_per_s, points)
    title = f"{options.dtype} on {row.id}"
    return Explanation(
        title=title,
        result=_result(options, roof),
        steps=tuple(_step(name, intensity, roof) for name, intensity in points),
        diagram="\n".join(roof_lines(roof)),
        svg=roof_svg(title, roof),
        formulas=_FORMULAS,
        notes=_NOTES,
        snippet=_snippet(options, roof),
        see_also=("matmul", "flops", "layer-norm"),
        values={
            "gpu": row.id, "peak_tflops": peak, "memory_gb_per_s": row.memory_gb_per_s,
            "ops_to_byte_flop_per_byte": roof.ridge,
            "operations": [
                {"name": name, "intensity_flop_per_byte": x, "attainable_tflops": roof.tflops(x)} for name, x in points
            ],
        },
    )  # fmt: skip


def _usual_operations(size: int) -> tuple[tuple[str, float], ...]:
    """Return intensities of operations of a transformer layer: 8192 tokens, 4096 wide."""
    tokens, hidden = 8192, 4096
    elements = tokens * hidden
    product = {"m": tokens, "k": hidden, "n": 4 * hidden}
    one_token = {"m": 1, "k": hidden, "n": hidden}
    attention = {"batch": 1, "heads": 32, "queries": tokens, "keys": tokens, "head_dim": 128}
    norm = {"rows": tokens, "columns": hidden, "kind": "layer_norm", "algorithm": "fused"}
    counts = (
        ("add two tensors", elementwise_flops(elements=elements),
         elementwise_bytes(elements=elements, bytes_per_element=size, inputs=2)),
        ("one token through a linear layer", matmul_flops(**one_token),
         matmul_bytes(**one_token, bytes_per_element=size)),
        ("layer norm, fused", pass_flops(kind="layer_norm", elements=elements),
         normalisation_bytes(**norm, bytes_per_element=size)),  # type: ignore[arg-type]
        ("8192 tokens through an MLP product", matmul_flops(**product),
         matmul_bytes(**product, bytes_per_element=size)),
        ("fused attention over 8192 tokens", attention_flops(**attention),  # type: ignore[arg-type]
         attention_bytes(**attention, bytes_per_element=size)),  # type: ignore[arg-type]
    )  # fmt: skip
    return tuple((name, arithmetic_intensity(flops=flops, moved_bytes=moved)) for name, flops, moved in counts)


def _result(options: argparse.Namespace, roof: Roof) -> str:
    if options.flops is None:
        below = sum(intensity < roof.ridge for _, intensity in roof.points)
        return (
            f"{roof.ridge:.1f} FLOP/B: below it memory decides, above it arithmetic; {below} of {len(roof.points)} "
            "usual operations are memory bound"
        )
    machine = {"peak_tflops": roof.peak_tflops, "memory_gb_per_s": roof.memory_gb_per_s}
    time_s = roofline_time_s(flops=options.flops, moved_bytes=options.bytes, **machine)
    limit = bound(flops=options.flops, moved_bytes=options.bytes, **machine)
    words = {"compute": "bound by arithmetic", "memory": "memory bound", "balanced": "balanced"}[limit]
    return (
        f"{roof.points[0][1]:.1f} FLOP/B against {roof.ridge:.1f}: {words}; {format_flops(options.flops)} and "
        f"{format_si(options.bytes, 'B')} take at least {time_words(time_s)}"
    )


def _step(name: str, intensity: float, roof: Roof) -> str:
    side = "left of the ridge, memory bound" if intensity < roof.ridge else "right of the ridge, bound by arithmetic"
    reach = attainable_tflops(
        intensity=intensity, peak_tflops=roof.peak_tflops, memory_gb_per_s=roof.memory_gb_per_s
    )  # fmt: skip
    share = reach / roof.peak_tflops
    return (
        f"{name[0].upper()}{name[1:]}: {intensity:,.1f} FLOP/B, {side}: {reach:,.4g} TFLOP/s, {share:.2%} of the peak."
    )


def _snippet(options: argparse.Namespace, roof: Roof) -> str:
    lines = [
        f"peak, bandwidth = {roof.peak_tflops:g}e12, {roof.memory_gb_per_s:g}e9  # {options.gpu.id}, {options.dtype}",
        "ridge = peak / bandwidth",
        f"assert abs(ridge - {roof.ridge:.6g}) < {roof.ridge * 1e-4:.3g}",
        "",
        "def attainable(intensity):  # FLOP/s",
        "    return min(peak, intensity * bandwidth)",
        "",
    ]
    for name, intensity in roof.points:
        lines.append(f"# {name}")
        lines.append(f"assert (attainable({intensity:.6g}) < peak) is {intensity < roof.ridge}")
    return "\n".join(lines)
