"""Findings of the source and of a run: one for each mistake."""

from __future__ import annotations

from typing import Any

from trainworthy.check.finding import Evidence, Finding, Place
from trainworthy.check.merge import told_once


def finding(code: str, line: int, *also: int, **settings: Any) -> Finding:
    given = {"name": "a-name", "severity": "warning", "depth": "static", "message": "", **settings}
    evidence = tuple(Evidence("", Place("a.py", n)) for n in also)
    return Finding(code=code, place=Place("a.py", line), evidence=(Evidence("in words"), *evidence), **given)


def test_a_line_in_common_is_enough() -> None:
    source = finding("TW315", 24, 22)
    assert told_once([source], [finding("TW315", 22, depth="live")]) == [source]
    assert told_once([source], [finding("TW315", 7, 24, depth="live")]) == [source]


def test_other_lines_files_and_rules_are_other_mistakes() -> None:
    source = finding("TW315", 24)
    others = [
        finding("TW315", 23, depth="live"), finding("TW316", 24, depth="live"),
        Finding(
            code="TW315", name="", severity="warning", depth="live", place=Place("b.py", 24), message="",
        ),
    ]  # fmt: skip
    assert sorted(told_once([source], others), key=id) == sorted([source, *others], key=id)


def test_the_graver_one_stays() -> None:
    seen = finding("TW313", 9, 17, severity="error", depth="live")
    assert told_once([finding("TW313", 17, severity="hint")], [seen]) == [seen]


def test_errors_come_first() -> None:
    warning, error = finding("TW315", 2), finding("TW351", 9, severity="error", depth="live")
    assert told_once([warning], [error]) == [error, warning]
