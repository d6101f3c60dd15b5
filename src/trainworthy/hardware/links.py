"""Links between GPUs, to the host and between nodes: ``links/<id>.toml``, cross-checked as the GPUs are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trainworthy.errors import HardwareRowError, UnknownLinkError
from trainworthy.hardware.toml import read_toml

_FOLDER = Path(__file__).parent / "links"
_TOLERANCE = 0.05
_KINDS = ("gpu", "host", "network")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interconnect:
    """A row of ``hardware/links``. Rates are in one direction; vendors advertise twice that. None is unknown."""

    id: str
    """Lower case, such as ``nvlink4``."""
    names: tuple[str, ...]
    """Other names that are understood."""
    kind: str
    """``gpu`` (between GPUs of a node), ``host``, or ``network`` (one port, between nodes)."""
    gb_per_s_per_direction: float
    """What one GPU, or one network port, can send at once."""
    num_links: int
    lanes_per_link: int
    gbit_per_lane: float
    """Signalling rate of one lane in one direction."""
    encoding: float
    """Share of the signalling rate that carries data: 128/130 for PCIe 3 to 5."""
    bus_gb_per_s: float | None
    """Bus bandwidth that NCCL plans with, where that is known."""
    step_latency_us: float
    """What each step of a collective costs, whatever its size."""
    base_latency_us: float
    """What a collective costs once."""
    latency_source: str
    sources: tuple[str, ...]
    notes: str | None
    checked: str

    @property
    def expected_gb_per_s(self) -> float:
        """Return the bus bandwidth, or the stated rate where it is unknown."""
        return self.gb_per_s_per_direction if self.bus_gb_per_s is None else self.bus_gb_per_s


def link_row(name: str) -> Interconnect:
    """Return the link with that id or name; case, spaces, dashes and underscores do not matter.

    >>> link_row("NVLink 4").gb_per_s_per_direction
    450

    Raises:
        UnknownLinkError: If there is none. Nothing is guessed; the message lists the rows.
    """
    wanted = _plain(name)
    link = _by_name().get(wanted)
    if link is not None:
        return link
    near = difflib.get_close_matches(wanted, _by_name(), n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(dict.fromkeys(_by_name()[word].id for word in near))}? " if near else ""
    raise UnknownLinkError(
        f"No data for link {name!r}. Known: {', '.join(link_rows())}.",
        where="--link, hardware/links/",
        fix=f"{hint}Pass one of these.",
    )


def link_rows() -> dict[str, Interconnect]:
    """Return all links by id, sorted. A row that contradicts itself raises `HardwareRowError`."""
    return dict(_rows())


def load_link(path: Path) -> Interconnect:
    """Read and cross-check one row.

    Raises:
        HardwareRowError: If the file is not TOML, a field is missing or unknown, or the row contradicts itself.
    """
    raw = read_toml(path)
    try:
        fields: dict[str, Any] = {"bus_gb_per_s": None, "notes": None, **raw}
        fields |= {name: tuple(fields[name]) for name in ("names", "sources")}
        link = Interconnect(**fields)
        _check(link, where=str(path))
    except (KeyError, TypeError) as error:
        raise HardwareRowError(
            f"A field is missing, unknown, or of the wrong type: {error}.",
            where=str(path),
            fix="Compare with nvlink4.toml.",
        ) from error
    if link.id != path.stem:
        raise HardwareRowError(f"The id {link.id!r} is not the name of the file.", where=str(path))
    return link


def index_links(links: Iterable[Interconnect]) -> dict[str, Interconnect]:
    """Index links by id and by name.

    Raises:
        HardwareRowError: If two rows claim the same name.
    """
    index: dict[str, Interconnect] = {}
    for link in links:
        for name in (link.id, *link.names):
            other = index.setdefault(_plain(name), link)
            if other is not link:
                raise HardwareRowError(f"{name!r} is claimed by two links: {other.id} and {link.id}.", where="links/")
    return index


def _check(link: Interconnect, *, where: str) -> None:
    if link.kind not in _KINDS:
        raise HardwareRowError(f"kind is {link.kind!r}, not one of {', '.join(_KINDS)}.", where=where)
    numbers = {
        name: getattr(link, name)
        for name in (
            "gb_per_s_per_direction", "num_links", "lanes_per_link", "gbit_per_lane", "encoding", "step_latency_us",
            "base_latency_us",
        )
    }  # fmt: skip
    if link.bus_gb_per_s is not None:
        numbers["bus_gb_per_s"] = link.bus_gb_per_s
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise HardwareRowError(f"{name} is {value!r}, not a number above 0.", where=where)
    implied = link.num_links * link.lanes_per_link * link.gbit_per_lane * link.encoding / 8
    if abs(link.gb_per_s_per_direction - implied) > _TOLERANCE * implied:
        raise HardwareRowError(
            f"gb_per_s_per_direction says {link.gb_per_s_per_direction:g} but the lanes imply {implied:.4g}.",
            where=where,
            fix="Correct whichever is wrong. Vendors often state both directions together.",
        )
    if link.bus_gb_per_s is not None and link.bus_gb_per_s > link.gb_per_s_per_direction:
        raise HardwareRowError(
            f"bus_gb_per_s says {link.bus_gb_per_s:g}, more than the link's {link.gb_per_s_per_direction:g}.",
            where=where,
        )


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())


@cache
def _rows() -> Mapping[str, Interconnect]:
    return {path.stem: load_link(path) for path in sorted(_FOLDER.glob("*.toml"))}


@cache
def _by_name() -> Mapping[str, Interconnect]:
    return index_links(_rows().values())
