"""What is found in a program is found when the same program is laid out in another style, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from zlib import crc32

import pytest

from check.depths import Case, findings, read_by, read_cases
from check.styles import STYLES, as_notebook
from trainworthy.check.config import Config
from trainworthy.check.rule import Rule, all_rules

CASES = Path(__file__).parents[1] / "cases"
# Meaning depends on the layout, or the program is no Python.
LAYOUT_MATTERS = {"TW890", "TW901"}


def programs() -> list[tuple[str, Case]]:
    """Return every program of a rule and of the case files, with the code that it is about."""
    found: list[tuple[str, Case]] = []
    for rule in all_rules().values():
        module = sys.modules[rule.module]
        for which in ("BAD", "GOOD"):
            for depth in rule.depths:
                program = own_program(rule, module, which, depth)
                if program:
                    found.append((rule.code, Case(file=f"{rule.code}-{which}", number=0, depth=depth, program=program)))
    for file in sorted(CASES.glob("TW*.md")):
        found += [(file.stem, case) for case in read_cases(file)]
    return [(code, case) for code, case in found if code not in LAYOUT_MATTERS]


def own_program(rule: Rule, module: object, which: str, depth: str) -> str:
    """Return the program that a rule file holds for a depth; the plain one is for the first depth."""
    if hasattr(module, "SEEN_BY"):
        return ""
    named = getattr(module, f"{depth.upper()}_{which}", None)
    plain = getattr(module, which, "") if rule.depths[0] == depth else ""
    return str(named if named is not None and depth != "static" else plain)


PROGRAMS = programs()
# Of those that run a part, always the same, for time: an eighth; in notebooks a third of the others.
STATIC = [(code, case) for code, case in PROGRAMS if case.depth == "static"]
RUN = [(code, case) for code, case in PROGRAMS if case.depth in ("dry", "live") and crc32(case.name.encode()) % 8 == 0]


@pytest.mark.parametrize(("code", "case"), STATIC, ids=lambda value: getattr(value, "name", ""))
def test_static_rules_do_not_mind_the_layout(code: str, case: Case) -> None:
    names = sorted(STYLES) if case.number == 0 else sorted(STYLES)[crc32(case.name.encode()) % 2 :: 2]  # half, for time
    for style in (STYLES[name] for name in names):
        text, where = style(case.program)
        found = {f.place.line for f in read_by(text, Config(select=(code,))) if f.code == code}
        assert found == {where[line] for line in case.marked(code)}, text


@pytest.mark.parametrize(("code", "case"), STATIC[::3], ids=lambda value: getattr(value, "name", ""))
def test_static_rules_read_notebooks(code: str, case: Case) -> None:
    text, where = as_notebook(case.program)
    found = {(f.place.cell, f.place.line) for f in read_by(text, Config(select=(code,)), "x.ipynb") if f.code == code}
    assert found == {where[line] for line in case.marked(code)}


@pytest.mark.parametrize(("code", "case"), RUN, ids=lambda value: getattr(value, "name", ""))
def test_deeper_rules_do_not_mind_the_layout(code: str, case: Case, tmp_path: Path) -> None:
    style = "function" if int(code[2:]) % 2 else "method"  # one of both, for time
    text, where = STYLES[style](case.program)
    of_rule = [f for f in findings(text, case.depth, tmp_path / "program.py") if f.code == code]
    if case.number == 0:  # a rule's own programs are marked for their own depth
        of_rule = [f for f in of_rule if f.depth == case.depth]
    assert {f.place.line for f in of_rule} == {where[line] for line in case.marked(code)}, text
