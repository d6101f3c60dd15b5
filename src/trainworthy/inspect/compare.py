"""Compare two results of rehearsals, as continuous integration wants it: what got worse by more than a limit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainworthy.errors import UsageError
from trainworthy.inspect.result import SCHEMA_VERSION

# Amounts of which less is better, in the order in which they are shown.
COMPARED = (
    "peak_memory_bytes",
    "reserved_memory_bytes",
    "flops_per_step",
    "model_flops_per_step",
    "moved_bytes_per_step",
    "host_syncs_per_step",
    "collective_bytes_per_step",
    "host_peak_bytes",
)
INFORMATIVE = ("parameters", "macs_forward")  # shown, but neither better nor worse

_VERDICTS = {"fits": 0, "does-not-fit": 1, "failed": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One amount before and after; ``change_pct`` is None if a side is unknown or grew from nothing."""

    name: str
    before: int | str | None
    after: int | str | None
    change_pct: float | None
    is_regression: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All changes; ``regressions`` are those beyond ``max_regression_pct``."""

    max_regression_pct: float
    changes: tuple[Change, ...]

    @property
    def regressions(self) -> tuple[Change, ...]:
        """Changes for the worse beyond the limit."""
        return tuple(change for change in self.changes if change.is_regression)


def compare_results(
    before: Mapping[str, Any], after: Mapping[str, Any], *, max_regression_pct: float = 5.0
) -> Comparison:
    """Compare two JSON objects of ``rehearse --format json``.

    A verdict that gets worse is a regression whatever the limit is, and so is an amount that was known and no longer
    is. An amount that grows from 0 is one, too.

    Raises:
        UsageError: If one is not such an object, or the limit is negative.
    """
    if max_regression_pct < 0:
        raise UsageError(f"A regression of {max_regression_pct:g} % cannot be asked for.", fix="Pass 0 or more.")
    _check(before, "the first file")
    _check(after, "the second file")
    changes = [_verdict_change(before, after)]
    for name in (*COMPARED, *INFORMATIVE):
        old, new = _amount(before, name), _amount(after, name)
        if old is None and new is None:
            continue
        limit = max_regression_pct if name in COMPARED else None
        changes.append(_change(name, old, new, limit))
    return Comparison(max_regression_pct=max_regression_pct, changes=tuple(changes))


def _check(result: Mapping[str, Any], where: str) -> None:
    version = result.get("schema_version") if isinstance(result, Mapping) else None
    if version != SCHEMA_VERSION or result.get("verdict") not in _VERDICTS:
        raise UsageError(
            f"Not the result of a rehearsal of schema version {SCHEMA_VERSION}; its schema_version is {version!r}.",
            where=where,
            fix="Write it with: trainworthy rehearse --format json --output result.json ...",
        )


def _amount(result: Mapping[str, Any], name: str) -> int | None:
    value = result.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _verdict_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> Change:
    old, new = before["verdict"], after["verdict"]
    worse = _VERDICTS[new] > _VERDICTS[old]
    return Change(name="verdict", before=old, after=new, change_pct=None, is_regression=worse)


def _change(name: str, old: int | None, new: int | None, limit_pct: float | None) -> Change:
    if old is None or new is None:
        lost = limit_pct is not None and new is None
        return Change(name=name, before=old, after=new, change_pct=None, is_regression=lost)
    # Integers: a limit of 0 must see one byte in a terabyte.
    pct = 100.0 * (new - old) / old if old else None
    worse = limit_pct is not None and (new - old) * 100 > limit_pct * old
    return Change(name=name, before=old, after=new, change_pct=pct if old else (0.0 if new == old else None),
                  is_regression=worse)  # fmt: skip
