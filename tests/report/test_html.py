"""The page: offline, whole without scripts and styles, and safe whatever names a script has."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from report import cases
from trainworthy.inspect import RehearsalResult
from trainworthy.report import render_html
from trainworthy.report.notebook import result_html, tape_html

_VOID = {"meta", "br", "hr", "img", "input", "link", "rect", "line", "circle", "polygon"}
_ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "strong", "section", "dl", "dt",
    "dd", "div", "ul", "li", "svg", "line", "text", "polygon", "rect", "circle", "g", "figure", "figcaption", "details",
    "summary", "table", "caption", "thead", "tbody", "tr", "th", "td", "pre", "footer", "sup",
}  # fmt: skip


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in _VOID or tag == "rect":  # a rectangle that is not closed at once has a tooltip in it
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("case", cases.ALL)
def test_well_formed_and_of_known_elements_only(case: str) -> None:
    reader = read(render_html([cases.ALL[case]()]))
    assert reader.tags <= _ALLOWED
    assert not any(name.startswith("on") for name in reader.attributes)
    assert not {"src", "href", "xlink:href", "srcset", "action", "formaction"} & reader.attributes


@pytest.mark.parametrize("case", ["fitting", "full", "too_large", "failed", "sharded", "staged", "hanging"])
def test_nothing_is_loaded_from_outside(case: str) -> None:
    page = render_html([cases.ALL[case]()])
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("case", ["hostile", "hostile_cluster"])
def test_hostile_names_stay_text(case: str) -> None:
    page = render_html([cases.ALL[case]()])
    assert "<script" not in page
    assert "<img" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "<script>alert('1')</script>" in "".join(read(page).words)


def test_the_verdict_comes_first_and_every_drawing_has_a_table() -> None:
    page = render_html([cases.full()])
    order = ["class=\"verdict", "id=\"findings\"", "Memory over time", "id=\"timeline\"", "id=\"memory\"",
             "Modules by FLOPs", "id=\"modules\"", "id=\"lines-flops\"", "id=\"assumptions\""]  # fmt: skip
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert page.count('role="img"') == 2


def test_a_cluster_has_its_drawings_and_their_tables() -> None:
    page = render_html([cases.staged()])
    order = ["class=\"verdict", "id=\"ranks\"", "id=\"communication\"", "id=\"groups\"", "id=\"exposed\"",
             "Pipeline schedule (step 2", "id=\"pipeline\"", "Memory over time"]  # fmt: skip
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert re.search(r"<title>F1 on rank 3, slot 4</title>", page)
    page = render_html([cases.sharded()])
    assert page.count("<h2>Ring ") == 2
    assert "step 1: rank 0 sends chunk 7" in page
    assert 'id="ring-1"' in page


def test_readable_without_styles() -> None:
    page = re.sub(r"<style>.*?</style>", "", render_html([cases.fitting()]), flags=re.DOTALL)
    text = " ".join("".join(read(page).words).split())
    for part in ("FITS", "layers[0..3] x4", "activations", "train.py:12"):
        assert part in text
    assert "style=" not in page


def test_tooltips_name_operation_line_and_module() -> None:
    page = render_html([cases.fitting()])
    tips = re.findall(r"<rect[^>]*fill-opacity=\"0\"><title>(.*?)</title>", page, re.DOTALL)
    assert any("addmm" in tip and "line train.py:12" in tip and "module layers." in tip for tip in tips)


def test_small_enough_to_send() -> None:
    assert len(render_html([cases.many_modules(5000)] * 3).encode()) < 2_000_000


@pytest.mark.parametrize("case", cases.ALL)
def test_notebooks(case: str) -> None:
    result: RehearsalResult = cases.ALL[case]()
    for fragment in (result_html(result), tape_html(result.tape), result._repr_html_(), result.tape._repr_html_()):
        reader = read(fragment)
        assert reader.tags <= _ALLOWED
        assert "style" not in reader.tags  # a style would change the notebook around it
