"""What single GPUs, hosts and implementations reach, from few published measurements each.

``published_rates.toml`` has scales of the common rates for GPUs, of the host's time for software stacks, and a factor
for implementations whose inner workings a profile does not know (which kernels a benchmark of 2020 fuses, how far its
batches are padded). Each has the ids of the rows that it was fitted to, which no comparison counts. A calibration
measured with ``trainworthy calibrate`` is better.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from trainworthy.hardware.toml import read_toml

_PATH = Path(__file__).parent / "published_rates.toml"


class GpuScales(NamedTuple):
    """Scales of one GPU: of arithmetic and of memory traffic; above 1 is faster than its generation's default."""

    compute: float = 1.0
    memory: float = 1.0


AS_ITS_ROW = GpuScales()


class PublishedRates(NamedTuple):
    """All scales: of GPUs by id, of the host by the table's framework, of step times by workload and precision."""

    gpus: dict[str, GpuScales]
    hosts: dict[str, float]
    workloads: dict[str, float]
    rows: frozenset[str]
    """Rows of tables that something was fitted to."""


NO_RATES = PublishedRates({}, {}, {}, frozenset())


@lru_cache(maxsize=1)
def published_rates() -> PublishedRates:
    """Read all of them; none if the file is not there."""
    if not _PATH.is_file():
        return NO_RATES
    tables: dict[str, dict[str, dict[str, Any]]] = read_toml(_PATH)
    every = [entry for kind in ("gpu", "host", "workload") for entry in tables.get(kind, {}).values()]
    return PublishedRates(
        {name: GpuScales(t["compute_scale"], t["memory_scale"]) for name, t in tables.get("gpu", {}).items()},
        {name: t["time_scale"] for name, t in tables.get("host", {}).items()},
        {name: t["time_scale"] for name, t in tables.get("workload", {}).items()},
        frozenset(row for entry in every for row in entry["rows"]),
    )


def workload_names(workload: str) -> tuple[str, ...]:
    """Return the names under which factors of a workload are kept: of the model, and of it at its precision.

    >>> workload_names("Detection/SSD amp")
    ('Detection/SSD', 'Detection/SSD amp')
    """
    return (workload.rsplit(" ", 1)[0], workload) if workload else ()


def workload_factor(rates: PublishedRates, workload: str) -> float:
    """Return by what a workload takes longer than its profile says: both factors together; 1 where none is known."""
    return prod(rates.workloads.get(name, 1.0) for name in workload_names(workload))
