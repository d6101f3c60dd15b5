"""Measure this machine, so that estimates speak of it: matrix products, convolutions, memory, latencies, the host.

$ trainworthy calibrate
$ trainworthy calibrate --device cuda
$ trainworthy calibrate --threads 4 --format json --output cpu.json
$ trainworthy calibrate --budget 20
$ trainworthy calibrate --list

Takes less than a minute: on a slow machine fewer probes are made, and the result says which. It is kept as one TOML
file and used by `trainworthy estimate` wherever this device is meant.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

from trainworthy.cli.options import add_output_options, emit

if TYPE_CHECKING:
    from trainworthy.hardware.calibration import Calibration


def run(parser: argparse.ArgumentParser, words: Sequence[str]) -> int:
    """Measure, keep and show; or list what there is."""
    add_output_options(parser, ("text", "json"))
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: cuda if there is one, else cpu")
    parser.add_argument("--threads", type=int, metavar="N", help="of PyTorch on the CPU (default: as PyTorch chooses)")
    parser.add_argument(
        "--budget", type=float, metavar="SECONDS",
        help="time to spend, from 10 to 3600 (default: 50); more time, more probes",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the calibrations there are and measure nothing")
    options = parser.parse_args(words)
    if options.threads is not None and not 1 <= options.threads <= 4096:
        parser.error(f"--threads is {options.threads}; it must be from 1 to 4096")
    if options.budget is not None and not 10 <= options.budget <= 3600:
        parser.error(f"--budget is {options.budget:g}; it must be from 10 to 3600 seconds")
    if options.list:
        return _list(options)
    return _measure(options)


def _list(options: argparse.Namespace) -> int:
    from trainworthy.hardware.calibrations import calibration_rows

    rows = list(calibration_rows().values())
    if options.format == "json":
        emit(json.dumps([_head(row) for row in rows], indent=2), options.output)
        return 0
    if not rows:
        emit("No calibrations yet; `trainworthy calibrate` makes one of this machine.", options.output)
        return 0
    emit(
        "\n".join(f"{row.id}  {row.date}  torch {row.torch_version}  {row.device_name}" for row in rows), options.output
    )
    return 0


def _measure(options: argparse.Namespace) -> int:
    from trainworthy._api.need_torch import need_torch

    need_torch("calibrate")
    from trainworthy.calibrate.run import BUDGET_S, calibrate, choose_device
    from trainworthy.hardware.calibrations import as_plain, save_calibration

    device = choose_device(options.device)
    line = _Progress()
    try:
        budget_s = BUDGET_S if options.budget is None else options.budget
        calibration = calibrate(device=device, threads=options.threads, budget_s=budget_s, progress=line.show)
    finally:
        line.clear()
    path = save_calibration(calibration)
    if options.format == "json":
        emit(json.dumps({"path": str(path), **as_plain(calibration)}, indent=1), options.output)
    else:
        emit(f"{summary(calibration)}\n\nkept in {path}", options.output)
    return 0


class _Progress:
    """One line on a terminal; silent when piped."""

    def __init__(self) -> None:
        self._on = sys.stderr.isatty()

    def show(self, text: str) -> None:
        """Rewrite the line."""
        if self._on:
            sys.stderr.write(f"\r\x1b[Kmeasuring {text} ...")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._on:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _head(row: Calibration) -> dict[str, object]:
    names = ("id", "device", "device_name", "date", "torch_version", "threads", "host_cpu", "notes")
    return {name: getattr(row, name) for name in names}


def summary(calibration: Calibration) -> str:
    """Say in a few lines what was measured."""
    c = calibration
    where = f"{c.device_name}, {c.threads} threads" if c.device == "cpu" else c.device_name
    lines = [f"{c.id}: {where}, torch {c.torch_version}, {c.date}", ""]
    peaks = ", ".join(f"{name} {_significant(peak * 1e3)} GFLOP/s" for name, peak in c.peaks_tflops.items())
    lines.append(f"  largest matrix product   {peaks}")
    near, far = max(point.gb_per_s for point in c.bandwidth), c.bandwidth[-1].gb_per_s
    lines.append(f"  memory bandwidth         {far:.0f} GB/s, {near:.0f} GB/s in the caches")
    lines.append(f"  shortest kernel          {c.launch_latency_s * 1e6:.1f} us")
    host = c.host
    lines.append(
        f"  host, an operation       forward {host.forward_op_s * 1e6:+.1f} us, "
        f"backward {host.backward_op_s * 1e6:+.1f} us, optimizer {host.optimizer_op_s * 1e6:+.1f} us, "
        f"view {host.view_s * 1e6:.1f} us"
    )
    if c.page_fault_s_per_byte is not None:
        lines.append(f"  fresh memory             {c.page_fault_s_per_byte * 4096e6:.2f} us a page of 4 KiB")
    samples = sum(len(curve.samples) for curve in c.curves.values())
    errors = [curve.typical_error for curve in c.curves.values() if curve.typical_error is not None]
    if errors:
        lines.append(
            f"  kernels                  {samples:,} measurements, {len(c.curves)} families; one left out is "
            f"predicted within {median(errors):.0%} (median)"
        )
    if c.pace_drift is not None:
        lines.append(f"  pace                     moved by {c.pace_drift:.0%} meanwhile (first to ninth decile)")
    if c.notes:
        lines += ["", *textwrap.wrap(c.notes, width=110, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join(lines)


def _significant(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
