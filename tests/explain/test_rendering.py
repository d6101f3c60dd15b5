"""Text at every width, colours only where asked for, HTML that escapes and loads nothing."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from explain.page import read
from trainworthy.cli.main import main
from trainworthy.explain import Explanation, Formula
from trainworthy.explain.html import render_html
from trainworthy.explain.text import render_text

HOSTILE = Explanation(
    subject="x", title="<script>alert(1)</script>", result="a & b < c", steps=("<b>",), diagram="<pre> & ",
    svg="", formulas=(Formula(text="a < b", source="<i>"),), snippet="assert 1 < 2", notes=("<u>",), see_also=("<a>",),
)  # fmt: skip
LONG = Explanation(
    subject="x", title="word " * 30, result="word " * 60, steps=("word " * 60,) * 11, notes=("word " * 60,),
    formulas=(Formula(text="a = b", source="word " * 60),),
)  # fmt: skip


@pytest.mark.parametrize("width", [20, 40, 80, 100, 140, 400])
def test_prose_is_wrapped_to_the_terminal(width: int) -> None:
    lines = render_text(LONG, width=width, color=False).split("\n")
    assert max(map(len, lines)) <= max(min(width, 120), 32)
    assert all(line == line.rstrip() for line in lines)


def test_piped_lines_are_not_wrapped() -> None:
    lines = render_text(LONG, width=0, color=False).split("\n")
    assert lines[1] == "RESULT   " + LONG.result.rstrip()


def test_colours_only_where_asked_for() -> None:
    assert "\x1b" not in render_text(LONG, width=80, color=False)
    assert "\x1b[1;32m" in render_text(LONG, width=80, color=True)
    assert "\x1b[1;31m" in render_text(Explanation(title="t", result="no", problem=True), width=80, color=True)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", render_text(LONG, width=80, color=True))
    assert plain == render_text(LONG, width=80, color=False)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("names", "colored"), [
    ({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False),
])  # fmt: skip
def test_a_terminal_gets_colours_unless_it_says_no(
    names: dict[str, str], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["explain", "broadcast"]) == 0
    assert ("\x1b[" in terminal.getvalue()) == colored


def test_html_escapes_and_loads_nothing() -> None:
    page = render_html([HOSTILE])
    reader = read(page)
    assert "<script" not in page
    assert "alert(1)" in "".join(reader.words)
    assert not re.search(r"https?:|@import|url\(", page)
    assert "default-src 'none'" in page
    assert "<h2>" in HOSTILE._repr_html_()


def test_a_file_gets_plain_text_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, page, data = tmp_path / "a.txt", tmp_path / "a.html", tmp_path / "a.json"
    assert main(["explain", "conv", "--output", str(text)]) == 0
    assert main(["explain", "conv", "--format", "html", "--output", str(page)]) == 0
    assert main(["explain", "conv", "--format", "json", "--output", str(data)]) == 0
    assert capsys.readouterr().out == ""
    assert text.read_text().startswith("conv: (1, 3, 224, 224)")
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert json.loads(data.read_text())["values"]["output_shape"] == [1, 64, 112, 112]
    assert main(["explain", "conv", "--output", str(tmp_path / "no" / "a.txt")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_an_explanation_without_extras() -> None:
    bare = Explanation(title="t", result="r")
    assert str(bare) == "t\nRESULT   r\n"
    read(render_html([bare]))
    assert bare.to_dict()["values"] == {}
