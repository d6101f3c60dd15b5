"""Every rule finds exactly the marked lines of its BAD and of its cases, and every GOOD is clean under all rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from check.depths import EVERYTHING, Case, findings, marks, read_cases
from trainworthy.check.config import Config
from trainworthy.check.rule import Rule, all_rules
from trainworthy.check.run import check_file, collect
from trainworthy.check.static.project import Project

CASES = Path(__file__).parents[1] / "cases"
STATIC = [one for one in all_rules().values() if "static" in one.finders]


def found(program: str, config: Config = EVERYTHING) -> set[tuple[int, str]]:
    result = collect([check_file("program.py", config, data=program.encode(), project=Project())], config)
    return {(one.place.line, one.code) for one in result.findings}


@pytest.mark.parametrize("rule", STATIC, ids=lambda rule: rule.code)
def test_bad_is_found_on_the_marked_lines(rule: Rule) -> None:
    of_rule = {one for one in found(rule.bad) if one[1] == rule.code}
    assert of_rule == {one for one in marks(rule.bad) if one[1] == rule.code}
    assert of_rule, "BAD must have the fault"


@pytest.mark.parametrize("rule", STATIC, ids=lambda rule: rule.code)
def test_good_is_clean_under_all_rules(rule: Rule) -> None:
    assert rule.good
    assert found(rule.good, Config()) == set()
    assert not {one for one in found(rule.good) if one[1] == rule.code}


CASE_PROGRAMS = [case for file in sorted(CASES.glob("TW*.md")) for case in read_cases(file)]


@pytest.mark.parametrize("case", CASE_PROGRAMS, ids=lambda case: case.name)
def test_cases_are_found_on_the_marked_lines(case: Case, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if case.depth == "again":
        request.getfixturevalue("warm_rehearsals")
    found_here = {
        f.place.line for f in findings(case.program, case.depth, tmp_path / "program.py") if f.code == case.file
    }
    assert found_here == case.marked(case.file), case.program


@pytest.mark.parametrize("code", ["TW411", "TW576", "TW836"])
def test_tests_of_a_project_are_left_alone(code: str) -> None:
    data = all_rules()[code].bad.encode()
    for path, silent in (("tests/test_program.py", True), ("program.py", False)):
        result = collect([check_file(path, EVERYTHING, data=data, project=Project())], EVERYTHING)
        assert (code not in {one.code for one in result.findings}) == silent


def test_scalers_are_a_warning_where_gradients_are_clipped_before_they_are_unscaled() -> None:
    bad = all_rules()["TW653"].bad
    clip = "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
    clipped = bad.replace("    scaler.step", clip + "    scaler.step")
    unscaled = clipped.replace(clip, "    scaler.unscale_(optimizer)\n" + clip)
    for program, severity in ((bad, "hint"), (clipped, "warning"), (unscaled, "hint")):
        result = collect([check_file("program.py", EVERYTHING, data=program.encode(), project=Project())], EVERYTHING)
        assert [one.severity for one in result.findings if one.code == "TW653"] == [severity]


@pytest.mark.parametrize("rule", all_rules().values(), ids=lambda rule: rule.code)
def test_page_has_its_sections(rule: Rule) -> None:
    for heading in ("What it finds:", "Why:", "How sure:"):
        assert f"\n{heading}\n" in rule.page
    assert rule.summary
