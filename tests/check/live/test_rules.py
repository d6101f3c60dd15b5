"""Every live rule finds its BAD on exactly the marked lines, and no live rule finds anything in any GOOD."""

from __future__ import annotations

from pathlib import Path

import pytest

from check.live.run import guarded, marked_lines
from trainworthy.check.rule import Rule, all_rules

RULES = {code: rule for code, rule in all_rules().items() if "live" in rule.depths and rule.bad}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_bad_is_found_on_the_marked_lines(rule: Rule, tmp_path: Path) -> None:
    guard, _ = guarded(rule.bad, tmp_path / "bad.py")
    found = [f.place.line for f in guard.findings if f.code == rule.code]
    assert marked_lines(rule.bad, rule.code)
    assert found == marked_lines(rule.bad, rule.code)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_good_is_clean_under_all_rules(rule: Rule, tmp_path: Path) -> None:
    guard, _ = guarded(rule.good, tmp_path / "good.py")
    assert [(f.code, f.message) for f in guard.findings] == []
