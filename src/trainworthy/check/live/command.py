"""``check --live N SCRIPT [ARGS]``: the parent's side; needs no torch."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from trainworthy.check.finding import Finding, finding_from_dict
from trainworthy.errors import TrainworthyError, UsageError
from trainworthy.virtual.script_job import Job
from trainworthy.virtual.script_parent import Log, Progress, run_once
from trainworthy.virtual.script_target import resolve_target

_CHILD = "trainworthy.check.live.child"


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResult:
    """What the first steps of a script showed.

    Attributes:
        findings: What was found, errors first.
        steps: How many optimizer steps were seen.
        error: How the script failed, if it did: ``{kind, message, path, line}``.
        seconds: How long the guard looked.
        effects: What was kept inside, as ``{kind, what, times}``.
        left_out: Looks that failed by themselves, as ``{look, error}``: nothing is known of what they look at.
    """

    findings: tuple[Finding, ...]
    steps: int
    error: dict[str, Any] | None = None
    seconds: float | None = None
    effects: tuple[dict[str, Any], ...] = ()
    left_out: tuple[dict[str, str], ...] = ()


def check_live(
    target: str,
    *,
    args: Sequence[str] = (),
    steps: int = 20,
    time_limit_s: float = 300.0,
    is_module: bool = False,
    on_progress: Progress | None = None,
    on_log: Callable[[Log], None] | None = None,
) -> LiveResult:
    """Run an unmodified script for its first optimizer steps, on real data, and look on.

    Files that it writes go to a scratch folder and are gone afterwards; programs are not started; there is no network.

    Raises:
        UsageError: If there is no such script, or ``steps`` is below 1.
    """
    if steps < 1:
        raise UsageError(f"--live is {steps}; at least one step must be seen.", where="--live", fix="--live 20")
    job = Job(
        target=target, kind=resolve_target(target, is_module=is_module), scratch="", args=tuple(map(str, args)),
        steps=steps, time_limit_s=time_limit_s,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="trainworthy-", ignore_cleanup_errors=True) as scratch:
        outcome, log = run_once(dataclasses.replace(job, scratch=scratch), on_progress, child=_CHILD)
    if on_log is not None:
        on_log(log)
    if outcome.error is not None and outcome.error["kind"] == "internal":
        raise TrainworthyError(outcome.error["message"], fix=outcome.error.get("trace"))
    notes = outcome.notes
    return LiveResult(
        findings=tuple(finding_from_dict(f) for f in notes.get("findings", ())), steps=outcome.steps,
        error=outcome.error, seconds=notes.get("seconds"), effects=tuple(notes.get("effects", ())),
        left_out=tuple(notes.get("left_out", ())),
    )  # fmt: skip
