"""The code quality report of GitLab."""

from __future__ import annotations

import json
from pathlib import Path

from trainworthy.check.baseline import fingerprints
from trainworthy.check.run import CheckResult
from trainworthy.report.findings.words import long_message

_SEVERITIES = {"error": "critical", "warning": "major", "hint": "info"}


def render_gitlab(result: CheckResult) -> str:
    """Write one issue a finding; no two have one fingerprint."""
    issues = [
        {
            "description": f"{one.code}: {long_message(one)}",
            "check_name": one.name,
            "fingerprint": key,
            "severity": _SEVERITIES[one.severity],
            "location": {
                "path": Path(one.place.path).as_posix(),
                "lines": {"begin": one.place.line, "end": one.place.end_line or one.place.line},
            },
        }
        for one, key in zip(result.findings, fingerprints(result.findings), strict=True)
    ]
    return json.dumps(issues, indent=2, ensure_ascii=False)
