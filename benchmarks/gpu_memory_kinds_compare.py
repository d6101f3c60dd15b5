"""What ``gpu_memory_kinds.py`` asked a GPU against rehearsals.

``python -m benchmarks.gpu_memory_kinds_compare FILE [FILE ...]``, anywhere,
writes ``results/gpu_memory_kinds_<row>.json``, of which docs/measured-gpu.md has a table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import gpu_memory_kinds as asked
from benchmarks.common import write_result

_MIB = 1 << 20
_TRAINED = ("peak_allocated", "peak_reserved")


def main() -> None:
    from benchmarks.gpu import row_of

    measured: dict[str, Any] = {}
    for path in sys.argv[1:]:
        measured |= json.loads(Path(path).read_text(encoding="utf-8"))
    row = row_of(measured["device"])
    if row is None:
        raise SystemExit(f"There is no hardware row for {measured['device']}.")
    on = {name: measured[name] for name in ("device", "torch", "cuda", "cudnn")}
    content = {
        "measured_on": on, "outside_mib": outside(measured.get("outside", [])),
        "training": training(measured, row), "cells": cells(measured.get("cells", []), row),
        "convolutions": convolutions(measured.get("convolutions", [])),
    }  # fmt: skip
    write_result(f"gpu_memory_kinds_{row}", **content)


def outside(noted: list[dict[str, Any]]) -> dict[str, int]:
    """Return what the driver gave beside the allocator, in MiB, after each library's first use."""
    return {each["after"]: round((each["used"] - each["reserved"]) / _MIB) for each in noted}


def training(measured: dict[str, Any], row: str) -> dict[str, Any]:
    """Compare the peaks of each training, allocated and reserved."""
    found: dict[str, Any] = {}
    for name, ask in asked.probes():
        steps = measured.get(name)
        if not isinstance(steps, list) or not steps or "peak_reserved" not in steps[-1] or "after" in steps[-1]:
            continue
        if name in ("cells", "last batch"):
            continue
        seen = [steps[-1][kind] for kind in _TRAINED]
        said = rehearsed(ask, row)
        found[name] = {
            "measured_mib": [round(n / _MIB) for n in seen], "predicted_mib": [round(n / _MIB) for n in said],
            "error_pct": [round(100 * (b / a - 1), 1) for a, b in zip(seen, said, strict=True)],
            "outside_mib": round((steps[-1]["used"] - steps[-1]["reserved"]) / _MIB),
        }  # fmt: skip
    return found


def rehearsed(ask: Callable[[], Any], row: str) -> tuple[int, int]:
    """Rehearse a probe and return the allocator's two peaks."""
    from trainworthy.hardware import gpu_row
    from trainworthy.inspect.replay import replay
    from trainworthy.virtual.gpu import VirtualGpu

    with VirtualGpu(gpu_row(row)) as gpu:
        ask()
        tape = gpu.tape()
    found = replay(tape, workspace_bytes=int(tape.notes.get("workspace_bytes") or 0))
    return found.peak_allocated_bytes, found.peak_reserved_bytes


def cells(noted: list[dict[str, Any]], row: str) -> list[dict[str, Any]]:
    """Compare what fifty steps of a cell keep."""
    from trainworthy.hardware import gpu_row
    from trainworthy.virtual.gpu import VirtualGpu

    if not noted:
        return []
    with VirtualGpu(gpu_row(row)):
        said = asked.cells()
    names = ("kind", "dtype", "train")
    return [
        {**{name: seen[name] for name in names}, "measured_bytes": seen["bytes"], "predicted_bytes": each["bytes"]}
        for seen, each in zip(noted, said, strict=True)
    ]


def convolutions(noted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Set beside each call's workspace what the model says of it."""
    from trainworthy.inspect.workspaces import conv_workspaces_bytes
    from trainworthy.tape.record import Signature, TensorMeta

    found = []
    for each in noted:
        x, w = (_meta(each[name], each["dtype"]) for name in ("x", "w"))
        pairs = zip(x.shape[2:], w.shape[2:], each["stride"], each["dilation"], strict=True)
        sides = [(n + 2 * (d * (k // 2)) - d * (k - 1) - 1) // s + 1 for n, k, s, d in pairs]
        y = TensorMeta((x.shape[0], w.shape[0], *sides), _strides((x.shape[0], w.shape[0], *sides)), x.dtype, x.device)
        forward = conv_workspaces_bytes(Signature("convolution", (x, w), (y,), 0, 0, 0, 0))
        backward = conv_workspaces_bytes(Signature("convolution_backward", (y, x, w), (x,), 0, 0, 0, 0))
        found.append({
            **{name: each[name] for name in ("x", "w", "stride", "dilation", "dtype", "search")},
            "measured_mib": {name: round(each[name][-1] / _MIB, 1) for name in ("forward", "input", "weight")},
            "predicted_mib": [round(sum(part) / _MIB, 1) for part in (forward, backward)],
        })  # fmt: skip
    return found


def _meta(shape: list[int], dtype: str) -> Any:
    from trainworthy.tape.record import TensorMeta

    return TensorMeta(tuple(shape), _strides(tuple(shape)), dtype.removeprefix("torch."), "cuda:0")


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides = [1]
    for n in reversed(shape[1:]):
        strides.append(strides[-1] * n)
    return tuple(reversed(strides))


if __name__ == "__main__":
    main()
