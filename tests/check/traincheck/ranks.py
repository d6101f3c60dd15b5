"""Programs for several ranks, one after another in one group, each under a guard of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import distributed as dist

from check.live.run import guarded
from check.traincheck.reports import REPORTS
from trainworthy.check.live import collectives
from trainworthy.check.live.guard import GuardError


def run_all(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Run every program for two ranks, with its error and without; return this rank's findings by name."""
    # A rank that others keep off its processor is late; here one that went on without the other would wait for ever.
    collectives._FIRST_PATIENCE_S = collectives._PATIENCE_S = 60.0
    found = {}
    for report in REPORTS.values():
        for kind, program in (("bug", report.program), ("fixed", report.fixed)) if report.ranks > 1 else ():
            path = folder / f"rank{dist.get_rank() if dist.is_initialized() else ''}-{report.id}-{kind}.py"
            findings = []
            try:
                guard, _ = guarded(program, path, steps=8, raises="error")
                findings = list(guard.findings)
            except GuardError as error:
                findings = list(error.findings)
            found[f"{report.id} {kind}"] = [f.to_dict() for f in findings]
            dist.barrier()
    dist.destroy_process_group()
    return found
