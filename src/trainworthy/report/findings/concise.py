"""One line a finding, as compilers write them."""

from __future__ import annotations

from trainworthy.check.run import CheckResult
from trainworthy.report.findings.words import summary


def render_concise(result: CheckResult) -> str:
    """Write ``path:line:column: CODE severity: message``."""
    lines = [f"{one.place}: {one.code} {one.severity}: {one.message}" for one in result.findings]
    return "\n".join([*lines, summary(result)])
