"""Every live rule finds its BAD on exactly the marked lines, and no live rule finds anything in any GOOD."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from check.live.run import guarded, marked_lines
from trainworthy.check.rule import Rule, all_rules


def program_of(rule: Rule, which: str) -> str:
    """Return a rule's program for the live guard: its own, or the one of a rule that is live only."""
    module = sys.modules[rule.module]
    if hasattr(module, "SEEN_BY"):  # something else than the guard runs its programs
        return ""
    return str(getattr(module, f"LIVE_{which}", "" if "static" in rule.depths else getattr(module, which, "")))


RULES = {code: rule for code, rule in all_rules().items() if "live" in rule.depths and program_of(rule, "BAD")}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_bad_is_found_on_the_marked_lines(rule: Rule, tmp_path: Path) -> None:
    guard, _ = guarded(program_of(rule, "BAD"), tmp_path / "bad.py")
    found = [f.place.line for f in guard.findings if f.code == rule.code]
    assert marked_lines(program_of(rule, "BAD"), rule.code)
    assert found == marked_lines(program_of(rule, "BAD"), rule.code)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_good_is_clean_under_all_rules(rule: Rule, tmp_path: Path) -> None:
    guard, _ = guarded(program_of(rule, "GOOD"), tmp_path / "good.py")
    on = [f for f in guard.findings if all_rules()[f.code].default or f.code == rule.code]
    assert [(f.code, f.message) for f in on] == []
