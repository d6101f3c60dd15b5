"""From facts to findings; no torch here."""

from __future__ import annotations

from trainworthy.check.finding import Finding
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_setup import LeftOut
from trainworthy.check.rule import all_rules


def judge(facts: LiveFacts, *, off_too: bool = False) -> tuple[Finding, ...]:
    """Run the live rules, also those that are off by default if asked; errors first, the same line and code once."""
    found: dict[tuple[str, str, int], Finding] = {}
    for rule in all_rules().values():
        if not (rule.default or off_too):
            continue
        try:
            for finding in rule.findings("live", facts):
                found.setdefault((finding.code, finding.place.path, finding.place.line), finding)
        except Exception as error:  # a rule's fault must not end a training
            facts.left_out.append(LeftOut.of(f"{rule.code} {rule.name}", error))
    return tuple(sorted(found.values(), key=lambda f: f.order))
