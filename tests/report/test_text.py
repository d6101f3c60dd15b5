"""The report in a terminal and piped: golden files, and what must hold for any of them.

``TRAINWORTHY_UPDATE_GOLDEN=1 pytest tests/report`` writes the golden files anew; read the difference first.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from report import cases
from trainworthy.report import render_text

_GOLDEN = Path(__file__).with_name("golden")
_WIDTHS = {"piped": 0, "80": 80, "140": 140}


@pytest.mark.parametrize("width", _WIDTHS)
@pytest.mark.parametrize("case", ["fitting", "too_large", "failed", "full", "sharded", "staged", "hanging"])
def test_golden(case: str, width: str) -> None:
    found = render_text([cases.ALL[case]()], width=_WIDTHS[width], color=False)
    path = _GOLDEN / f"{case}-{width}.txt"
    if os.environ.get("TRAINWORTHY_UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == found


def test_golden_side_by_side() -> None:
    found = render_text([cases.fitting(), cases.too_large()], width=0)
    path = _GOLDEN / "two-gpus-piped.txt"
    if os.environ.get("TRAINWORTHY_UPDATE_GOLDEN"):
        path.write_text(found, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == found


@pytest.mark.parametrize("width", [60, 80, 100, 140])
@pytest.mark.parametrize("case", ["fitting", "too_large", "full", "sharded", "staged", "hanging"])
def test_a_terminal_is_never_overrun(case: str, width: int) -> None:
    text = render_text([cases.ALL[case]()], width=width, color=False)
    assert max(len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize("case", cases.ALL)
def test_the_verdict_is_the_first_line(case: str) -> None:
    text = render_text([cases.ALL[case]()], width=0)
    assert text.startswith("VERDICT  ")
    assert "\nWHY      " in text
    assert "\nNEXT     " in text


def test_piped_lines_are_whole_and_plain() -> None:
    result = cases.many_modules(200)
    text = render_text([result], width=0)
    for n in range(200):
        assert re.search(rf"^part{n} ", text, re.MULTILINE)
    assert "…" not in text
    assert not re.search("[─━│┃┌┐└┘├┤]", text)
    assert "\x1b" not in text


def test_a_terminal_shows_no_more_rows_than_it_can_hold() -> None:
    assert len(render_text([cases.many_modules(200)], width=100, color=False).splitlines()) < 320


def test_piping_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    assert render_text([cases.fitting()]) == render_text([cases.fitting()], width=0)


def test_colour_only_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[" in render_text([cases.fitting()], width=80)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in render_text([cases.fitting()], width=80)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b[" not in render_text([cases.fitting()], width=80)


@pytest.mark.parametrize("width", [0, 100])
@pytest.mark.parametrize("case", ["hostile", "hostile_cluster"])
def test_names_from_a_script_cannot_steer_the_terminal(case: str, width: int) -> None:
    text = render_text([cases.ALL[case]()], width=width, color=False)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[31m" in text
