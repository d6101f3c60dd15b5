"""The stable JSON of ``trainworthy check``."""

from __future__ import annotations

import json

from trainworthy.check.run import CheckResult

SCHEMA_VERSION = 1


def render_json(result: CheckResult) -> str:
    """Write findings, and what was looked at."""
    return json.dumps(to_dict(result), indent=2, ensure_ascii=False)


def to_dict(result: CheckResult) -> dict[str, object]:
    """Return what ``--format json`` prints; docs/check.md describes it."""
    return {
        "schema_version": SCHEMA_VERSION,
        "findings": [one.to_dict() for one in result.findings],
        "files": result.files,
        "lines": result.lines,
        "rules": list(result.rules),
        **({"left_out": list(result.left_out)} if result.left_out is not None else {}),
    }
