"""List the GPUs that there is data for; their ids are what --gpu takes.

$ trainworthy gpus
$ trainworthy gpus --links
$ trainworthy gpus --cpus
$ trainworthy gpus add my-gpu.toml

``add`` checks a row of yours (copy one of hardware/gpus/) and says what is wrong with it, or keeps it for all commands.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trainworthy.cli.options import add_output_options, emit

if TYPE_CHECKING:
    from trainworthy.hardware import Cpu, Gpu, Interconnect


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Print one line a row of ``hardware/gpus`` or ``hardware/links``, or add a row."""
    add_output_options(parser, ("text", "json"))
    parser.add_argument("--links", action="store_true", help="list links: NVLink, PCIe, InfiniBand, Ethernet, xGMI")
    parser.add_argument("--cpus", action="store_true", help="list CPUs, a socket each")
    parser.add_argument("action", nargs="?", choices=("list", "add"), default="list", help="default: list")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the row to add, a TOML file")
    options = parser.parse_args(words)
    if options.action == "add":
        if options.file is None or options.links or options.cpus:
            parser.error("which FILE? `trainworthy gpus add FILE` takes one row of a GPU")
        return _add(options)
    if options.file is not None:
        parser.error(f"unrecognized arguments: {options.file!r}")
    if options.links and options.cpus:
        parser.error("--links or --cpus, not both")
    from trainworthy.hardware import cpu_rows, gpu_rows, link_rows

    if options.cpus:
        cpus = list(cpu_rows().values())
        emit(_json(cpus, _CPU_FIELDS) if options.format == "json" else _cpu_table(cpus), options.output)
        return 0
    if options.links:
        links = list(link_rows().values())
        emit(_json(links, _LINK_FIELDS) if options.format == "json" else _link_table(links), options.output)
        return 0
    rows = list(gpu_rows().values())
    emit(_json(rows, _GPU_FIELDS) if options.format == "json" else _gpu_table(rows), options.output)
    return 0


_GPU_FIELDS = (
    "id", "name", "vendor", "memory_bytes", "memory_gb_per_s", "compute_capability", "sm_count", "power_w",
    "peaks_tflops", "sources", "checked",
)  # fmt: skip
_LINK_FIELDS = (
    "id", "names", "kind", "gb_per_s_per_direction", "bus_gb_per_s", "step_latency_us", "base_latency_us", "sources",
    "checked",
)  # fmt: skip
_CPU_FIELDS = (
    "id", "names", "cores", "base_mhz", "peaks_tflops", "memory_gb_per_s", "l3_bytes", "power_w", "sources", "checked"
)  # fmt: skip


def _add(options: argparse.Namespace) -> int:
    from trainworthy.hardware.user_rows import add_gpu

    gpu, goal = add_gpu(Path(options.file))
    if options.format == "json":
        emit(json.dumps({"id": gpu.id, "path": str(goal)}, indent=2), options.output)
    else:
        emit(f"{gpu.id} agrees with itself and is kept in {goal}; pass --gpu {gpu.id}", options.output)
    return 0


def _gpu_table(rows: Sequence[Gpu]) -> str:
    from trainworthy.units import UNKNOWN, format_bytes

    table = [("id", "memory", "GB/s", "bf16", "fp32 TFLOP/s", "name that the driver reports")]
    for row in rows:
        bf16, fp32 = row.peak_tflops("bf16"), row.peak_tflops("fp32")
        table.append((
            row.id, format_bytes(row.memory_bytes), f"{row.memory_gb_per_s:,.0f}",
            f"{bf16:,.0f}" if bf16 else UNKNOWN, f"{fp32:,.1f}" if fp32 else UNKNOWN, row.name,
        ))  # fmt: skip
    return _aligned(table)


def _link_table(links: Sequence[Interconnect]) -> str:
    from trainworthy.units import UNKNOWN

    table = [("id", "GB/s one way", "bus GB/s", "step us", "between", "other names")]
    for link in links:
        bus = UNKNOWN if link.bus_gb_per_s is None else f"{link.bus_gb_per_s:g}"
        between = {"gpu": "GPUs", "host": "host", "network": "nodes"}[link.kind]
        table.append((
            link.id, f"{link.gb_per_s_per_direction:g}", bus, f"{link.step_latency_us:g}", between,
            ", ".join(link.names),
        ))  # fmt: skip
    return _aligned(table)


def _cpu_table(cpus: Sequence[Cpu]) -> str:
    from trainworthy.units import UNKNOWN

    table = [("id", "cores", "base GHz", "fp32 TFLOP/s", "bf16", "GB/s", "name in /proc/cpuinfo")]
    for cpu in cpus:
        peaks = [cpu.peak_tflops(dtype) for dtype in ("fp32", "bf16")]
        fp32, bf16 = (UNKNOWN if peak is None else f"{peak:.3g}" for peak in peaks)
        table.append((
            cpu.id, str(cpu.cores), f"{cpu.base_mhz / 1e3:g}", fp32, bf16, f"{cpu.memory_gb_per_s:g}", cpu.names[0]
        ))  # fmt: skip
    return _aligned(table)


def _aligned(table: Sequence[tuple[str, ...]]) -> str:
    """Align columns: the first and the last one left, numbers in between right."""
    widths = [max(len(line[at]) for line in table) for at in range(len(table[0]))]
    lines = []
    for line in table:
        numbers = [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([line[0].ljust(widths[0]), *numbers, line[-1]]).rstrip())
    return "\n".join(lines)


def _json(rows: Sequence[object], fields: Sequence[str]) -> str:
    return json.dumps([{name: _plain(getattr(row, name)) for name in fields} for row in rows], indent=2)


def _plain(value: object) -> object:
    return dict(value) if hasattr(value, "items") else value  # type: ignore[call-overload]
