"""``check --rehearse``: the dry rules on the tape of a rehearsal; this module needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trainworthy.check.dry import dry_findings

if TYPE_CHECKING:
    from pathlib import Path

    from trainworthy.check.finding import Finding
    from trainworthy.inspect import RehearsalResult
    from trainworthy.tape.record import Tape


def check_rehearsed(
    target: str | Path, *, sizes: bool = True, **options: Any
) -> tuple[tuple[Finding, ...], RehearsalResult]:
    """Rehearse ``target`` and return what the dry rules find, and the rehearsal.

    Args:
        target: A script, notebook, module or ``package.module:function``.
        sizes: Whether the script is rehearsed again, for a step, with sizes changed that may be equal by chance.
        **options: Those of ``rehearse``.
    """
    from trainworthy._api.rehearse import rehearse

    result = rehearse(target, **options)
    if sizes and not options.get("world_size"):
        _add_equal_sizes(result.tape, target, options)
    return dry_findings(result.tape), result


def _add_equal_sizes(tape: Tape, target: str | Path, options: dict[str, Any]) -> None:
    """Note in a tape what works only because two sizes are equal."""
    from trainworthy._api.check_shapes import Again, equal_sizes
    from trainworthy._api.rehearse import make_job, run_alone

    fields = {k: v for k, v in options.items() if k not in _ONLY_OF_REHEARSE}
    fields.setdefault("time_limit_s", 300.0)

    def again(resize: dict[str, Any]) -> Again:
        job = make_job(target, **{**fields, "steps": 1, "resize": resize})
        outcome, other, _ = run_alone(job, options.get("on_progress"))
        return Again(outcome, other)

    found = equal_sizes(tape, again)
    if found:
        tape.notes.setdefault("check", {})["equal_sizes"] = found


_ONLY_OF_REHEARSE = frozenset({"on_progress", "on_log", "world_size", "gpus_per_node", "rank", "ranks"})


def add_dry_findings(result: RehearsalResult) -> None:
    """List the dry findings of a rehearsal among its own; a hint is a note there."""
    for found in dry_findings(result.tape):
        severity = "note" if found.severity == "hint" else found.severity
        result.findings.append({
            "code": found.code, "severity": severity, "message": found.message, "path": found.place.path,
            "line": found.place.line, "fix": found.fix,
        })  # fmt: skip
