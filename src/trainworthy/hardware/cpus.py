"""CPUs as data: ``cpus/<id>.toml``, one socket a row, cross-checked as the GPUs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from trainworthy.errors import HardwareRowError, UnknownCpuError
from trainworthy.hardware.toml import read_toml

_FOLDER = Path(__file__).parent / "cpus"
_TOLERANCE = 0.05
_KNOWN_TYPES = ("fp64", "fp32", "bf16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """A row of ``hardware/cpus``: one socket with all its cores. None is unknown.

    Peaks are for the base clock, the only one that is promised with all vector units at work; boost clocks give more
    for as long as power and heat allow. What a machine reaches has to be measured.
    """

    id: str
    names: tuple[str, ...]
    """As ``/proc/cpuinfo`` prints them (``model name``)."""
    cores: int
    base_mhz: int
    peaks_tflops: Mapping[str, float] = field(hash=False)
    flop_per_clock_per_core: Mapping[str, int] = field(hash=False)
    memory_gb_per_s: float
    memory_channels: int
    memory_mt_per_s: int
    """Transfers of 8 bytes a second and channel, in millions."""
    l3_bytes: int | None
    power_w: int | None
    sources: tuple[str, ...]
    notes: str | None
    checked: str

    def peak_tflops(self, dtype: str) -> float | None:
        """Return the peak for ``dtype`` at the base clock, or None if there is no such unit."""
        return self.peaks_tflops.get(dtype)


def cpu_row(name: str) -> Cpu:
    """Return the row with that id or exact model name; upper and lower case are the same.

    >>> cpu_row("AMD EPYC 7763 64-Core Processor").id
    'epyc-7763'

    Raises:
        UnknownCpuError: If there is none. Nothing is guessed; the message lists the rows.
    """
    wanted = " ".join(name.split()).casefold()
    for cpu in _rows().values():
        if wanted in {other.casefold() for other in (cpu.id, *cpu.names)}:
            return cpu
    raise UnknownCpuError(
        f"No data for CPU {name!r}. Known: {', '.join(_rows())}.",
        where="hardware/cpus/",
        fix="Measure this machine, or add a row: copy epyc-7763.toml.",
    )


def cpu_rows() -> dict[str, Cpu]:
    """Return all CPUs by id, sorted. A row that contradicts itself raises `HardwareRowError`."""
    return dict(_rows())


def load_cpu(path: Path) -> Cpu:
    """Read and cross-check one row.

    Raises:
        HardwareRowError: If the file is not TOML, a field is missing or unknown, or the row contradicts itself.
    """
    raw = read_toml(path)
    try:
        memory = raw.pop("memory")
        fields: dict[str, Any] = {
            "l3_bytes": None, "power_w": None, "notes": None, **raw,
            "peaks_tflops": raw["peak_tflops"], "names": tuple(raw["names"]), "sources": tuple(raw["sources"]),
            "memory_gb_per_s": memory["gb_per_s"], "memory_channels": memory["channels"],
            "memory_mt_per_s": memory["mt_per_s"],
        }  # fmt: skip
        del fields["peak_tflops"]
        cpu = Cpu(**fields)
        _check(cpu, where=str(path))
    except (AttributeError, KeyError, TypeError) as error:
        raise HardwareRowError(
            f"A field is missing, unknown, or of the wrong type: {error}.",
            where=str(path),
            fix="Compare with epyc-7763.toml.",
        ) from error
    if cpu.id != path.stem:
        raise HardwareRowError(f"The id {cpu.id!r} is not the name of the file.", where=str(path))
    return cpu


def _check(cpu: Cpu, *, where: str) -> None:
    if cpu.peaks_tflops.keys() != cpu.flop_per_clock_per_core.keys():
        raise HardwareRowError("peak_tflops and flop_per_clock_per_core do not name the same types.", where=where)
    _agree("memory.gb_per_s", cpu.memory_gb_per_s, cpu.memory_channels * cpu.memory_mt_per_s * 8 / 1e3, where=where)
    for dtype, stated in cpu.peaks_tflops.items():
        if dtype not in _KNOWN_TYPES:
            raise HardwareRowError(f"Unknown type {dtype!r}. Known: {', '.join(_KNOWN_TYPES)}.", where=where)
        implied = cpu.cores * cpu.flop_per_clock_per_core[dtype] * cpu.base_mhz * 1e6 / 1e12
        _agree(f"peak_tflops.{dtype}", stated, implied, where=where)


def _agree(name: str, stated: float, implied: float, *, where: str) -> None:
    if not (stated > 0 and implied > 0 and abs(stated - implied) <= _TOLERANCE * implied):
        raise HardwareRowError(
            f"{name} says {stated:g} but the row implies {implied:.4g}.",
            where=where,
            fix="Correct whichever is wrong: the stated rate, the clock, or a count.",
        )


@cache
def _rows() -> Mapping[str, Cpu]:
    return {path.stem: load_cpu(path) for path in sorted(_FOLDER.glob("*.toml"))}
