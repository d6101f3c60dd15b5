"""``check --rehearse``: the dry rules on the tape of a rehearsal; this module needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainworthy.check.dry import dry_findings
from trainworthy.check.rule import all_rules

if TYPE_CHECKING:
    from pathlib import Path

    from trainworthy.check.finding import Finding, Severity
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
    found = (*dry_findings(result.tape), *_of_ranks(result))
    return tuple(sorted(found, key=lambda one: one.order)), result


# What ranks of a virtual cluster do wrong together is said by the rehearsal itself; these are its codes without a rule.
_SEVERITIES: dict[str, Severity] = {"error": "error", "warning": "warning", "note": "hint"}
RANK_FAULTS = {
    "TW401": "ranks-disagree", "TW403": "uneven-all-gather", "TW404": "groups-in-different-order",
    "TW405": "send-without-receive", "TW407": "parameters-no-rank-updates", "TW408": "uneven-batches",
    "TW409": "same-batch-on-all-ranks", "TW410": "ranks-share-a-gpu", "TW413": "parameters-not-averaged",
}  # fmt: skip


def _of_ranks(result: RehearsalResult) -> Iterator[Finding]:
    """Yield what comparing the ranks of a virtual cluster showed, as findings of a check."""
    from trainworthy.check.finding import Evidence, Finding, Place
    from trainworthy.check.rule import all_rules

    names = {**{code: one.name for code, one in all_rules().items() if code.startswith("TW4")}, **RANK_FAULTS}
    script = str(result.tape.notes.get("script") or "?")
    for one in result.findings if result.tape.notes.get("cluster") else ():
        if one["code"] not in names:
            continue
        places = [
            Evidence(f"rank {rank['rank']} is here", Place(path, line))
            for rank in one.get("ranks") or () if (path := rank["path"]) and (line := rank["line"])
        ]  # fmt: skip
        yield Finding(
            code=one["code"], name=names[one["code"]], depth="dry", message=one["message"], fix=one.get("fix"),
            severity=_SEVERITIES[one["severity"]], evidence=tuple(places),
            place=Place(one.get("path") or script, one.get("line") or 1),
        )  # fmt: skip


def _add_equal_sizes(tape: Tape, target: str | Path, options: dict[str, Any]) -> None:
    """Note in a tape what works only because two sizes are equal."""
    from trainworthy._api.rehearse import make_job, run_alone
    from trainworthy.check.dry.equal_sizes import Again, equal_sizes, last_batch

    fields = {k: v for k, v in options.items() if k not in _ONLY_OF_REHEARSE}
    fields.setdefault("time_limit_s", 300.0)

    def again(resize: dict[str, Any]) -> Again:
        job = make_job(target, **{**fields, "steps": 1, "resize": resize})
        outcome, other, _ = run_alone(job, options.get("on_progress"))
        return Again(outcome.error, other.notes.get("check", {}).get("batches", {}))

    for name, look in (("equal_sizes", equal_sizes), ("last_batch", last_batch)):
        found = look(tape, again)
        if found:
            tape.notes.setdefault("check", {})[name] = found


_ONLY_OF_REHEARSE = frozenset({"on_progress", "on_log", "world_size", "gpus_per_node", "rank", "ranks"})


def add_dry_findings(result: RehearsalResult) -> None:
    """List the dry findings of a rehearsal among its own, those of rules that are on; a hint is a note there."""
    rules = all_rules()
    for found in dry_findings(result.tape):
        if not rules[found.code].default:
            continue
        severity = "note" if found.severity == "hint" else found.severity
        result.findings.append({
            "code": found.code, "severity": severity, "message": found.message, "path": found.place.path,
            "line": found.place.line, "fix": found.fix,
        })  # fmt: skip
