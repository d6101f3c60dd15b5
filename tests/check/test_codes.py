"""A code means one thing, whichever command says it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trainworthy
from trainworthy.check.config import Config
from trainworthy.check.rule import Rule, all_pages, find_rule
from trainworthy.check.run import check_file, collect
from trainworthy.check.static.project import Project

SOURCE = Path(trainworthy.__file__).parent
# A sampler that is not told the epoch, buffers that differ, nn.DataParallel, BatchNorm under DDP.
SHARED = {"TW401", "TW402", "TW406", "TW409", "TW411", "TW412"}


def test_rules_and_rehearsals_share_only_codes_of_the_same_fault() -> None:
    rules = [
        code
        for file in (SOURCE / "check/rules").glob("*.py")
        for code in re.findall(r'code="(TW\d{3})"', file.read_text())
    ]
    others = {
        code
        for folder in ("inspect", "virtual", "_api")
        for file in (SOURCE / folder).rglob("*.py")
        for code in re.findall(r'"(TW\d{3})"', file.read_text())
    }
    assert rules
    assert set(rules) & others == SHARED


def test_every_code_that_any_command_prints_has_a_page() -> None:
    pages = all_pages()
    printed = {
        code
        for file in SOURCE.rglob("*.py")
        if "rules" not in file.parts
        for code in re.findall(r'"(TW[1-9]\d{2})"', file.read_text(encoding="utf-8"))
    }
    assert printed <= set(pages)
    assert {code for code, rule in pages.items() if not rule.finders} <= printed


@pytest.mark.parametrize("rule", [one for one in all_pages().values() if not one.finders], ids=lambda one: one.code)
def test_pages_of_rehearsals_are_whole(rule: Rule) -> None:
    for heading in ("What it finds:", "Why:", "How sure:"):
        assert f"\n{heading}\n" in rule.page
    assert find_rule(rule.code) is find_rule(rule.name) is rule
    assert rule.found_by == "rehearse"
    if rule.good:
        result = collect([check_file("x.py", Config(), data=rule.good.encode(), project=Project())], Config())
        assert [(f.code, f.message) for f in result.findings if f.severity == "error"] == []


def test_names_are_unique() -> None:
    names = [rule.name for rule in all_pages().values()]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
