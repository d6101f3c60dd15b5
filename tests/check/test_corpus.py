"""Every rule has programs that it must find and programs that it must leave alone; a new rule brings its own.

To add some: write ``tests/cases/TW123.md``, a heading and programs in fences, ``python`` for a static rule,
``python dry`` or ``python live`` for one that has to run (``python again`` is rehearsed with other sizes too, ``python
probe`` leaves a probe's result in ``found``), and mark the lines to be found with ``# <- TW123``. Programs
without a mark look suspicious and are right. ``test_rules.py`` checks them, ``test_styles.py`` in other layouts too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from check.depths import marks, read_cases
from trainworthy.check.rule import Rule, all_rules

CASES = Path(__file__).parents[1] / "cases"
LEAST = 3
# These need two processes or a GPU: live/test_replicas.py, traincheck/test_reports.py (TW401, TW432) and
# live/test_loader_starves_device.py hold them.
ELSEWHERE = {"TW401", "TW406", "TW409", "TW432", "TW450", "TW751"}


def programs(rule: Rule) -> list[str]:
    """Return the programs of a rule's file and of its case file."""
    module = sys.modules[rule.module]
    depths = ("", "LIVE_", "DRY_", "PROBE_")
    own = [getattr(module, f"{depth}{which}", "") for which in ("BAD", "GOOD") for depth in depths]
    file = CASES / f"{rule.code}.md"
    cases = [case.program for case in read_cases(file)] if file.exists() else []
    return list(dict.fromkeys(program for program in [*own, *cases] if program))


@pytest.mark.parametrize("rule", all_rules().values(), ids=lambda rule: rule.code)
def test_a_rule_has_cases(rule: Rule) -> None:
    if rule.code in ELSEWHERE:
        return
    assert (CASES / f"{rule.code}.md").exists(), f"write tests/cases/{rule.code}.md"
    found = [program for program in programs(rule) if any(code == rule.code for _, code in marks(program))]
    assert len(found) >= LEAST, "too few programs with the fault"
    assert len(programs(rule)) - len(found) >= LEAST, "too few programs that are right"


def test_every_case_file_is_of_a_rule() -> None:
    assert {file.stem for file in CASES.glob("TW*.md")} <= set(all_rules())
