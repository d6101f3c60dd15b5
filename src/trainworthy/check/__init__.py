"""``trainworthy check``: mistakes that do not crash, found in the source, on a tape, or in the first real steps.

finding.py says what a finding is, rule.py what a rule is; ``rules/`` holds one file a rule. ``static/`` reads source
without running it and never imports torch.
"""

from __future__ import annotations

from trainworthy.check.finding import Depth, Edit, Evidence, Finding, Hit, Place, Severity
from trainworthy.check.rule import Rule, all_rules, find_rule, rule

__all__ = [
    "Depth",
    "Edit",
    "Evidence",
    "Finding",
    "Hit",
    "Place",
    "Rule",
    "Severity",
    "all_rules",
    "find_rule",
    "rule",
]
