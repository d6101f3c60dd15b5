"""Find and read the rows: ``gpus/<id>.toml``, ``architectures.toml``, and the user's own."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from trainworthy.errors import HardwareRowError, UnknownGpuError
from trainworthy.hardware.architecture import Architecture, architecture_from_toml
from trainworthy.hardware.crosscheck import check_gpu
from trainworthy.hardware.gpu import Gpu, Link
from trainworthy.hardware.toml import read_toml

_FOLDER = Path(__file__).parent


def gpu_row(name: str) -> Gpu:
    """Return the row with that id or exact driver name; upper and lower case are the same.

    >>> gpu_row("NVIDIA H100 80GB HBM3").id
    'h100-sxm-80gb'

    Raises:
        UnknownGpuError: If there is none. Nothing is guessed; the message lists the rows.
    """
    wanted = " ".join(name.split()).casefold()
    gpu = _by_name().get(wanted) or index_names(_user_rows().values()).get(wanted)
    if gpu is not None:
        return gpu
    similar = _similar_ids(wanted)
    hint = f"Did you mean {' or '.join(similar)}? " if similar else ""
    raise UnknownGpuError(
        f"No data for GPU {name!r}. Known: {', '.join(gpu_rows())}.",
        where="--gpu, hardware/gpus/",
        fix=f"{hint}Pass one of these, or add a row with `trainworthy gpus add FILE`: copy h100-sxm-80gb.toml and set "
        f"names = [{name!r}].",
    )


def gpu_rows() -> dict[str, Gpu]:
    """Return all rows by id, the user's too, sorted. A row that contradicts itself raises `HardwareRowError`."""
    return dict(sorted({**_rows(), **_user_rows()}.items()))


def built_in_rows() -> dict[str, Gpu]:
    """Return the rows that come with trainworthy, by id, sorted."""
    return dict(_rows())


def load_gpu(path: Path) -> Gpu:
    """Read and cross-check one row whose file is named as its id.

    Raises:
        HardwareRowError: If the file is not TOML, a field is missing or unknown, or the row contradicts itself.
    """
    gpu = _gpu_from_toml(read_toml(path), where=str(path))
    if gpu.id != path.stem:
        raise HardwareRowError(f"The id {gpu.id!r} is not the name of the file.", where=str(path))
    check_gpu(gpu, where=str(path))
    return gpu


def gpu_from_file(path: Path) -> Gpu:
    """Read and cross-check one row, whatever its file is called.

    Raises:
        HardwareRowError: As `load_gpu`.
    """
    gpu = _gpu_from_toml(read_toml(path), where=str(path))
    check_gpu(gpu, where=str(path))
    return gpu


def index_names(gpus: Iterable[Gpu]) -> dict[str, Gpu]:
    """Index rows by id and by driver name.

    Raises:
        HardwareRowError: If two rows claim the same name.
    """
    index: dict[str, Gpu] = {}
    for gpu in gpus:
        for name in (gpu.id, *gpu.names):
            other = index.setdefault(name.casefold(), gpu)
            if other is not gpu:
                raise HardwareRowError(f"{name!r} is claimed by two rows: {other.id} and {gpu.id}.", where="gpus/")
    return index


def _similar_ids(wanted: str) -> list[str]:
    """Return rows to suggest in an error message: those of that family, else the one spelt most alike."""
    family = [row_id for row_id in gpu_rows() if row_id.startswith(f"{wanted}-")]
    if family:
        return family
    return [_by_name()[name].id for name in difflib.get_close_matches(wanted, _by_name(), n=1, cutoff=0.75)]


def _user_rows() -> Mapping[str, Gpu]:
    from trainworthy.hardware.user_rows import user_rows  # which is built on this module

    return user_rows()


@cache
def _rows() -> Mapping[str, Gpu]:
    return {path.stem: load_gpu(path) for path in sorted(_FOLDER.joinpath("gpus").glob("*.toml"))}


@cache
def _by_name() -> Mapping[str, Gpu]:
    return index_names(_rows().values())


@cache
def _architectures() -> Mapping[str, Architecture]:
    path = _FOLDER / "architectures.toml"
    tables = read_toml(path)["architecture"]
    return {
        table.get("id", table["compute_capability"]): architecture_from_toml(table, where=str(path)) for table in tables
    }


def _gpu_from_toml(raw: Mapping[str, Any], *, where: str) -> Gpu:
    memory, clock, links = raw.get("memory", {}), raw.get("clock", {}), raw.get("link", {})
    try:
        return Gpu(
            id=raw["id"],
            names=tuple(raw["names"]),
            vendor=raw.get("vendor", "NVIDIA"),
            architecture=_architectures()[raw.get("architecture", raw["compute_capability"])],
            sm_count=raw["sm_count"],
            memory_bytes=memory["bytes"],
            memory_bytes_source=memory["bytes_source"],
            memory_kind=memory["kind"],
            memory_gb_per_s=memory["gb_per_s"],
            bus_bits=memory["bus_bits"],
            pin_gbit_per_s=memory["pin_gbit_per_s"],
            l2_bytes=memory.get("l2_bytes"),
            boost_mhz=clock["boost_mhz"],
            tensor_boost_mhz=clock.get("tensor_boost_mhz"),
            power_w=raw.get("power_w"),
            peaks_tflops=raw["peak_tflops"],
            flop_per_clock_per_sm=raw["flop_per_clock_per_sm"],
            gpu_link=Link(**links["gpu"]) if "gpu" in links else None,
            host_link=Link(**links["host"]) if "host" in links else None,
            sources=tuple(raw["sources"]),
            notes=raw.get("notes"),
            checked=raw["checked"],
        )
    except (KeyError, TypeError) as error:
        raise HardwareRowError(
            f"A field is missing, unknown, or of the wrong type: {error}.",
            where=where,
            fix="Compare with h100-sxm-80gb.toml.",
        ) from error
