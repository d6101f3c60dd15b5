"""Every rule finds exactly the marked lines of its BAD and of its cases, and every GOOD is clean under all rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trainworthy.check.config import Config
from trainworthy.check.rule import Rule, all_rules
from trainworthy.check.run import check_file, collect
from trainworthy.check.static.project import Project

CASES = Path(__file__).parents[1] / "cases"
EVERYTHING = Config(select=("ALL",))
STATIC = [one for one in all_rules().values() if "static" in one.finders]
_MARK = re.compile(r"#\s*<-\s*(TW\d{3}(?:\s*,\s*TW\d{3})*)")
_FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def found(program: str, config: Config = EVERYTHING) -> set[tuple[int, str]]:
    result = collect([check_file("program.py", config, data=program.encode(), project=Project())], config)
    return {(one.place.line, one.code) for one in result.findings}


def marked(program: str) -> set[tuple[int, str]]:
    marks = set()
    for number, line in enumerate(program.split("\n"), start=1):
        match = _MARK.search(line)
        if match:
            marks |= {(number, code.strip()) for code in match[1].split(",")}
    return marks


@pytest.mark.parametrize("rule", STATIC, ids=lambda rule: rule.code)
def test_bad_is_found_on_the_marked_lines(rule: Rule) -> None:
    of_rule = {one for one in found(rule.bad) if one[1] == rule.code}
    assert of_rule == {one for one in marked(rule.bad) if one[1] == rule.code}
    assert of_rule, "BAD must have the fault"


@pytest.mark.parametrize("rule", STATIC, ids=lambda rule: rule.code)
def test_good_is_clean_under_all_rules(rule: Rule) -> None:
    assert rule.good
    assert found(rule.good, Config()) == set()
    assert not {one for one in found(rule.good) if one[1] == rule.code}


def cases() -> list[tuple[str, int, str]]:
    found_cases = []
    for file in sorted(CASES.glob("*.md")):
        for number, program in enumerate(_FENCE.findall(file.read_text(encoding="utf-8")), start=1):
            found_cases.append((file.stem, number, program))
    return found_cases


@pytest.mark.parametrize(("code", "number", "program"), cases(), ids=lambda value: value if len(str(value)) < 9 else "")
def test_cases_are_found_on_the_marked_lines(code: str, number: int, program: str) -> None:
    assert {one for one in found(program) if one[1] == code} == {one for one in marked(program) if one[1] == code}


@pytest.mark.parametrize("rule", all_rules().values(), ids=lambda rule: rule.code)
def test_page_has_its_sections(rule: Rule) -> None:
    for heading in ("What it finds:", "Why:", "How sure:"):
        assert f"\n{heading}\n" in rule.page
    assert rule.summary
