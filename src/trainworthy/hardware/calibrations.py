"""Calibrations as files: one TOML row each, shipped in ``calibrations/`` or kept in the user's folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trainworthy.errors import HardwareRowError
from trainworthy.hardware.calibration import (
    BandwidthPoint,
    Calibration,
    Curve,
    HostCosts,
    RefillPoint,
    ReusePoint,
    Sample,
)
from trainworthy.hardware.toml import read_toml
from trainworthy.hardware.user_rows import user_folder

SCHEMA_VERSION = 1
_FOLDER = Path(__file__).parent / "calibrations"


def calibration_folder() -> Path:
    """Return the folder of the user's calibrations, beside that of GPU rows; it need not exist."""
    return user_folder().parent / "calibrations"


def calibration_rows() -> dict[str, Calibration]:
    """Return all calibrations by id; the user's replace shipped ones.

    Raises:
        HardwareRowError: If one is broken.
    """
    paths = [*sorted(_FOLDER.glob("*.toml"))]
    with suppress(OSError, RuntimeError):  # no permission, or no home
        paths += sorted(calibration_folder().glob("*.toml"))
    rows = [load_calibration(path) for path in paths]
    return {row.id: row for row in rows}


def load_calibration(path: Path) -> Calibration:
    """Read one calibration.

    Raises:
        HardwareRowError: If the file cannot be read, is of another version, or a field is missing or wrong.
    """
    raw = read_toml(path)
    version = raw.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise HardwareRowError(
            f"The calibration is of version {version}, not {SCHEMA_VERSION}.", where=str(path),
            fix="Run `trainworthy calibrate` again.",
        )  # fmt: skip
    try:
        return _from_toml(raw)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise HardwareRowError(
            f"A field is missing, unknown, or of the wrong type: {error}.", where=str(path),
            fix="Run `trainworthy calibrate` again.",
        ) from error  # fmt: skip


def _from_toml(raw: dict[str, Any]) -> Calibration:
    curves = {name: _curve(table) for name, table in raw.pop("curves", {}).items()}
    bandwidth = tuple(BandwidthPoint(float(size), float(rate)) for size, rate in raw.pop("bandwidth"))
    if not bandwidth or any(size <= 0 or rate <= 0 for size, rate in bandwidth):
        raise ValueError("bandwidth must be pairs of bytes and GB/s above 0")
    reuse = tuple(ReusePoint(float(distance), float(cost)) for distance, cost in raw.pop("reuse", ()))
    refill = tuple(RefillPoint(*map(float, point)) for point in raw.pop("refill", ()))
    host = HostCosts(**raw["host"])
    if "pace_s" in raw:
        compute_s, memory_s = map(float, raw["pace_s"])
        raw = {**raw, "pace_s": (compute_s, memory_s)}
    return Calibration(
        **{**raw, "host": host, "bandwidth": bandwidth, "reuse": reuse, "refill": refill, "curves": curves}
    )


def _curve(table: Mapping[str, Any]) -> Curve:
    samples = tuple(Sample(tuple(map(float, row[:-1])), float(row[-1])) for row in table["samples"])
    scales = tuple(map(float, table.get("length_scales", ())))
    weights = tuple(map(float, table.get("weights", ())))
    plain = not weights and len(scales) == 1
    if not (plain or len(weights) == len(samples)) or any(len(sample.features) != len(scales) for sample in samples):
        raise ValueError("a curve needs one weight a sample and one length scale a feature")
    return Curve(
        samples=samples, weights=weights, length_scales=scales,
        mean_log_ratio=float(table.get("mean_log_ratio", 0.0)), typical_error=table.get("typical_error"),
    )  # fmt: skip


def dump_calibration(calibration: Calibration) -> str:
    """Write a calibration as TOML."""
    plain = as_plain(calibration)
    curves, host = plain.pop("curves"), plain.pop("host")
    by_op = host.pop("by_op")
    tables = {
        "host": host,
        "host.by_op": {_text(key): value for key, value in by_op.items()},
        "peaks_tflops": plain.pop("peaks_tflops"),
        "versions": plain.pop("versions"),
    }
    lines = [f"{key} = {_value(value)}" for key, value in plain.items() if value is not None]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_value(value)}" for key, value in table.items())]
    for name, curve in curves.items():
        lines += ["", f"[curves.{_text(name)}]"]
        lines += [f"{key} = {_value(value)}" for key, value in curve.items() if value is not None]
    return "\n".join(lines) + "\n"


def as_plain(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration as values that JSON and TOML know; a sample is its features, then its seconds."""
    host = calibration.host
    return {
        "schema_version": SCHEMA_VERSION, "id": calibration.id, "device": calibration.device,
        "device_name": calibration.device_name, "date": calibration.date,
        "torch_version": calibration.torch_version, "threads": calibration.threads,
        "host_cpu": calibration.host_cpu, "pace_drift": calibration.pace_drift,
        "pace_s": None if calibration.pace_s is None else list(calibration.pace_s), "notes": calibration.notes,
        "launch_latency_s": calibration.launch_latency_s,
        "page_fault_s_per_byte": calibration.page_fault_s_per_byte,
        "bandwidth": [list(point) for point in calibration.bandwidth],
        "reuse": [list(point) for point in calibration.reuse],
        "refill": [list(point) for point in calibration.refill],
        "host": {
            **{name: getattr(host, name) for name in host.__dataclass_fields__}, "by_op": dict(host.by_op),
        },
        "peaks_tflops": dict(calibration.peaks_tflops), "versions": dict(calibration.versions),
        "curves": {
            name: {
                "typical_error": curve.typical_error, "mean_log_ratio": curve.mean_log_ratio,
                "length_scales": list(curve.length_scales), "weights": list(curve.weights),
                "samples": [[*sample.features, sample.time_s] for sample in curve.samples],
            }
            for name, curve in calibration.curves.items()
        },
    }  # fmt: skip


def save_calibration(calibration: Calibration, path: Path | None = None) -> Path:
    """Write a calibration to ``path``, or into the user's folder as ``<id>.toml``, and return where it is.

    Raises:
        HardwareRowError: If the file cannot be written.
    """
    goal = path or calibration_folder() / f"{calibration.id}.toml"
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        partial = goal.with_name(f".{goal.name}.{os.getpid()}")
        partial.write_text(dump_calibration(calibration), encoding="utf-8")
        partial.replace(goal)
    except OSError as error:
        raise HardwareRowError(f"Cannot be written: {error.strerror}.", where=str(goal)) from error
    return goal


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    return repr(value)
