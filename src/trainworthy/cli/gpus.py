"""List the GPUs that there is data for; their ids are what --gpu takes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from trainworthy.cli.options import add_output_options, emit


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Print one line a row of ``hardware/gpus``."""
    add_output_options(parser, ("text", "json"))
    options = parser.parse_args(words)
    from trainworthy.hardware import gpu_rows
    from trainworthy.units import UNKNOWN, format_bytes

    rows = list(gpu_rows().values())
    if options.format == "json":
        emit(json.dumps([_row(row) for row in rows], indent=2), options.output)
        return 0
    table = [("id", "memory", "GB/s", "bf16", "fp32 TFLOP/s", "name that the driver reports")]
    for row in rows:
        bf16, fp32 = row.peak_tflops("bf16"), row.peak_tflops("fp32")
        table.append((
            row.id, format_bytes(row.memory_bytes), f"{row.memory_gb_per_s:,.0f}",
            f"{bf16:,.0f}" if bf16 else UNKNOWN, f"{fp32:,.1f}" if fp32 else UNKNOWN, row.name,
        ))  # fmt: skip
    widths = [max(len(line[i]) for line in table) for i in range(6)]
    emit("\n".join(_aligned(line, widths) for line in table), options.output)
    return 0


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    numbers = [cell.rjust(width) for cell, width in zip(line[1:5], widths[1:5], strict=True)]
    return "  ".join([line[0].ljust(widths[0]), *numbers, line[5]])


def _row(row: object) -> dict[str, object]:
    names = ("id", "name", "memory_bytes", "memory_gb_per_s", "compute_capability", "sm_count", "peaks_tflops")
    return {name: _plain(getattr(row, name)) for name in names}


def _plain(value: object) -> object:
    return dict(value) if hasattr(value, "items") else value  # type: ignore[call-overload]
