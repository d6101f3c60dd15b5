"""A matrix product: bound by arithmetic or by memory, how its tiles fill the GPU, and how sizes should be aligned."""

from __future__ import annotations

import argparse

from trainworthy.errors import FormulaError, UsageError
from trainworthy.explain.arguments import at_least
from trainworthy.explain.bars import Bar, bar_lines, time_words
from trainworthy.explain.explanation import Explanation, Formula
from trainworthy.explain.machine_arguments import add_gpu
from trainworthy.explain.registry import subject
from trainworthy.explain.roof import Roof, roof_lines, roof_svg
from trainworthy.formulas.flops import matmul_bytes, matmul_flops
from trainworthy.formulas.gemm import TileCount, alignment_elements, best_tile, padded
from trainworthy.formulas.roofline import (
    arithmetic_intensity,
    attainable_tflops,
    bound,
    compute_time_s,
    memory_time_s,
    ops_to_byte_ratio,
)
from trainworthy.hardware import Gpu
from trainworthy.units import format_bytes, format_flops, format_si

BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2, "fp8": 1, "int8": 1}
_FORMULAS = (
    Formula(text="FLOPs = 2 m k n", source="torch.utils.flop_counter.mm_flop (torch 2.13)"),
    Formula(
        text="intensity = 2 m k n / (bytes per element x (m k + k n + m n))\n"
        "memory bound where intensity < peak FLOP/s / bandwidth",
        source="NVIDIA, Matrix multiplication background user's guide, section 2; Williams et al., Roofline, 2009",
    ),
    Formula(
        text="waves = ceil(tiles / SMs); the last wave costs as much as a full one",
        source="NVIDIA, Matrix multiplication background user's guide: tile and wave quantisation",
    ),
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "sizes", nargs="*", type=at_least(1), metavar="M K N", help="(m, k) times (k, n); by default 8192 128 8192"
    )
    parser.add_argument("--batch", type=at_least(1), default=1, help="number of products (default 1)")
    parser.add_argument("--dtype", choices=tuple(BYTES), default="fp16", help="type of all three (default fp16)")
    add_gpu(parser)


@subject(
    "matmul",
    summary="compute or memory bound; tiles, waves, alignment",
    group="cost",
    arguments=_arguments,
    examples=(
        "8192 128 8192 --dtype fp16 --gpu v100-sxm2-16gb", "4096 4096 4096 --dtype bf16",
        "1 4096 4096 --dtype bf16 --gpu a100-sxm-80gb", "8192 768 50257 --dtype bf16 --gpu a100-sxm-80gb",
    ),
    aliases=("gemm", "matrix-product"),
)  # fmt: skip
def matmul(options: argparse.Namespace) -> Explanation:
    """Explain what a matrix product costs."""
    if len(options.sizes or (1, 1, 1)) != 3:
        raise UsageError(f"A product has three sizes M K N, got {len(options.sizes)}.", where="explain matmul")
    m, k, n = options.sizes or (8192, 128, 8192)
    sizes = {"m": m, "k": k, "n": n}
    row: Gpu = options.gpu
    peak = row.peak_tflops(options.dtype)
    if peak is None:
        raise UsageError(
            f"{row.id} has no unit for {options.dtype} products.", where="--dtype",
            fix=f"It has {', '.join(row.peaks_tflops)}.",
        )  # fmt: skip
    flops = matmul_flops(m=m, k=k, n=n, batch=options.batch)
    moved = matmul_bytes(m=m, k=k, n=n, batch=options.batch, bytes_per_element=BYTES[options.dtype])
    intensity = arithmetic_intensity(flops=flops, moved_bytes=moved)
    ridge = ops_to_byte_ratio(peak_tflops=peak, memory_gb_per_s=row.memory_gb_per_s)
    limit = bound(flops=flops, moved_bytes=moved, peak_tflops=peak, memory_gb_per_s=row.memory_gb_per_s)
    compute_s = compute_time_s(flops=flops, peak_tflops=peak)
    memory_s = memory_time_s(moved_bytes=moved, memory_gb_per_s=row.memory_gb_per_s)
    tile, count = best_tile(m=m, n=n, sm_count=row.sm_count, batch=options.batch)
    reach = attainable_tflops(intensity=intensity, peak_tflops=peak, memory_gb_per_s=row.memory_gb_per_s)
    title = f"({m}, {k}) @ ({k}, {n}) in {options.dtype} on {row.id}"
    roof = Roof(peak, row.memory_gb_per_s, (("this product", intensity),))
    return Explanation(
        title=title,
        result=f"{intensity:.1f} FLOP/B against {ridge:.1f} of the GPU: {_verdict(limit)}; at least "
        f"{time_words(max(compute_s, memory_s))}, at most {reach:.4g} TFLOP/s ({reach / peak:.0%} of the peak)",
        steps=_steps(options, sizes, flops, moved),
        diagram="\n".join([*bar_lines(_bars(row, peak, flops, moved), cells=20), "", *roof_lines(roof)]),
        svg=roof_svg(title, roof),
        formulas=_FORMULAS,
        notes=_notes(options, sizes, count, limit),
        snippet=_snippet(options, sizes, intensity, ridge),
        see_also=("roofline", "flops", "mixed-precision"),
        values={
            "flops": flops, "moved_bytes": moved, "intensity_flop_per_byte": intensity,
            "ops_to_byte_flop_per_byte": ridge, "bound_by": limit, "compute_s": compute_s, "memory_s": memory_s,
            "attainable_tflops": reach, "peak_tflops": peak, "tile": tile, "tiles": count.tiles, "waves": count.waves,
            "tile_efficiency": count.tile_efficiency, "wave_efficiency": count.wave_efficiency, "gpu": row.id,
        },
    )  # fmt: skip


def _steps(options: argparse.Namespace, sizes: dict[str, int], flops: int, moved: int) -> tuple[str, ...]:
    m, k, n = sizes.values()
    row: Gpu = options.gpu
    peak = row.peaks_tflops[options.dtype]
    intensity = arithmetic_intensity(flops=flops, moved_bytes=moved)
    ridge = ops_to_byte_ratio(peak_tflops=peak, memory_gb_per_s=row.memory_gb_per_s)
    tile, count = best_tile(m=m, n=n, sm_count=row.sm_count, batch=options.batch)
    return (
        f"Arithmetic: 2 x {_times(options.batch)}{m} x {k} x {n} = {format_flops(flops)}, "
        f"{format_si(flops / 2, 'MAC')}.",
        f"Bytes: each operand is read once, the result written once: {BYTES[options.dtype]} B x "
        f"{_times(options.batch)}({m * k:,} + {k * n:,} + {m * n:,}) = {format_si(moved, 'B')} "
        f"({format_bytes(moved)}).",
        f"Intensity: {format_flops(flops)} / {format_si(moved, 'B')} = {intensity:.1f} FLOP/B. The GPU does "
        f"{peak:g} TFLOP/s while it moves {row.memory_gb_per_s:,g} GB/s: {ridge:.1f} FLOP/B.",
        _tile_step(tile, count, row),
    )


def _bars(row: Gpu, peak: float, flops: int, moved: int) -> list[Bar]:
    compute_s = compute_time_s(flops=flops, peak_tflops=peak)
    memory_s = memory_time_s(moved_bytes=moved, memory_gb_per_s=row.memory_gb_per_s)
    return [
        Bar("arithmetic", compute_s, f"{time_words(compute_s)} = {format_flops(flops)} at {peak:g} TFLOP/s"),
        Bar("memory", memory_s, f"{time_words(memory_s)} = {format_si(moved, 'B')} at {row.memory_gb_per_s:g} GB/s"),
    ]


def _verdict(limit: str) -> str:
    return {"compute": "bound by arithmetic", "memory": "memory bound", "balanced": "balanced"}[limit]


def _times(batch: int) -> str:
    return f"{batch} x " if batch > 1 else ""


def _tile_step(tile: tuple[int, int], count: TileCount, row: Gpu) -> str:
    waves = f"{count.waves:,} wave{'s' if count.waves > 1 else ''}"
    return (
        f"Tiles: with {tile[0]} x {tile[1]} the result has {count.tiles:,} tiles, {waves} over {row.sm_count} SMs; "
        f"{count.tile_efficiency:.1%} of the tiles' area and {count.wave_efficiency:.1%} of the waves are of use."
    )


def _notes(options: argparse.Namespace, sizes: dict[str, int], count: TileCount, limit: str) -> tuple[str, ...]:
    notes = []
    row: Gpu = options.gpu
    try:
        multiple = alignment_elements(dtype=options.dtype, compute_capability=row.compute_capability)
    except FormulaError:  # no tensor cores for that type: nothing to align to
        multiple = 1
    odd = [
        f"{name} = {size} (next: {padded(size=size, multiple=multiple)})"
        for name, size in sizes.items()
        if size % multiple and size > 1
    ]
    if odd:
        notes.append(
            f"{options.dtype} on {row.architecture.name} is fastest with multiples of {multiple}: {', '.join(odd)}."
        )
    if count.wave_efficiency < 0.75:
        notes.append(
            f"The last wave is {count.tiles - (count.waves - 1) * row.sm_count} of {row.sm_count} tiles: a result a "
            "little smaller would be faster, and one a little larger cost nothing."
        )
    if limit == "memory":
        notes.append(
            "More arithmetic units do not help, fewer bytes do: a larger batch, a smaller type, or an epilogue fused "
            "into the product."
        )
    notes.append("These are bounds. Large products reach 50 to 90 % of a peak, small ones are bound by their launch.")
    return tuple(notes)


def _snippet(options: argparse.Namespace, sizes: dict[str, int], intensity: float, ridge: float) -> str:
    peak, bandwidth = options.gpu.peak_tflops(options.dtype), options.gpu.memory_gb_per_s
    shape, product = ("batch, ", "bmm") if options.batch > 1 else ("", "mm")
    return "\n".join([
        "import torch",
        "from torch.utils.flop_counter import FlopCounterMode",
        "",
        f"batch, m, k, n = {options.batch}, {sizes['m']}, {sizes['k']}, {sizes['n']}",
        f'a = torch.empty({shape}m, k, device="meta")',
        f'b = torch.empty({shape}k, n, device="meta")',
        "with FlopCounterMode(display=False) as counter:",
        f"    torch.{product}(a, b)",
        "flops = counter.get_total_flops()",
        f"moved = {BYTES[options.dtype]} * batch * (m * k + k * n + m * n)  # bytes, {options.dtype}",
        f"ridge = {peak:g}e12 / {bandwidth:g}e9  # of {options.gpu.id}",
        "print(f'{flops / moved:.1f} FLOP/B against {ridge:.1f}')",
        f"assert abs(flops / moved - {intensity:.6g}) < {max(intensity * 1e-4, 1e-4):.3g}",
        f"assert (flops / moved < ridge) is {intensity < ridge}",
    ])  # fmt: skip
