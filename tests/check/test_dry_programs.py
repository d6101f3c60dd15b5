"""Every dry rule finds its BAD on exactly the marked lines, and finds nothing in its GOOD."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from check.depths import marks, rehearsed
from trainworthy.check.rule import Rule, all_rules


def program_of(rule: Rule, which: str) -> str:
    """Return a rule's program for a rehearsal: its own, or the one of a rule that is dry only."""
    module = sys.modules[rule.module]
    if hasattr(module, "SEEN_BY"):  # dry/test_rules.py runs these
        return ""
    own = "" if {"static", "live"} & {*rule.depths} and rule.code != "TW520" else getattr(module, which, "")
    return str(getattr(module, f"DRY_{which}", own))


RULES = {code: rule for code, rule in all_rules().items() if "dry" in rule.depths and program_of(rule, "BAD")}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_bad_is_found_on_the_marked_lines(rule: Rule, tmp_path: Path) -> None:
    bad = program_of(rule, "BAD")
    found = {(f.place.line, f.code) for f in rehearsed(bad, tmp_path / "bad.py") if f.code == rule.code}
    assert found == {one for one in marks(bad) if one[1] == rule.code}
    assert found


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_good_is_clean_under_all_default_rules(rule: Rule, tmp_path: Path) -> None:
    found = rehearsed(program_of(rule, "GOOD"), tmp_path / "good.py")
    rules = all_rules()
    assert [(f.code, f.message) for f in found if rules[f.code].default or f.code == rule.code] == []
