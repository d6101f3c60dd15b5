"""What the source says and what a run shows, put together: a mistake that both see is told once."""

from __future__ import annotations

from collections.abc import Sequence

from trainworthy.check.finding import SEVERITIES, Finding


def told_once(static: Sequence[Finding], deeper: Sequence[Finding]) -> list[Finding]:
    """Join findings, in the order in which they are read.

    Two of one rule speak of the same mistake if they have a line in common, be it one that their evidence names. The
    source's is kept, as it has columns and may have a safe fix; the run's where it is graver.
    """
    kept, left_out = list(deeper), set[int]()
    for one in static:
        twins = [other for other in deeper if other.code == one.code and _lines(other) & _lines(one)]
        if any(SEVERITIES.index(other.severity) < SEVERITIES.index(one.severity) for other in twins):
            continue
        left_out.update(map(id, twins))
        kept.append(one)
    return sorted((one for one in kept if id(one) not in left_out), key=lambda one: one.order)


def _lines(finding: Finding) -> set[tuple[str, int]]:
    places = [finding.place, *(one.place for one in finding.evidence if one.place is not None)]
    return {(place.path, place.line) for place in places}
