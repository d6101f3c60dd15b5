"""Reads a page as strictly as the tests of reports do."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "line", "polygon"}
_ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "main", "section", "h2", "h3", "p", "strong", "figure", "details",
    "summary", "ol", "ul", "li", "pre", "svg", "rect", "text", "line", "polygon",
}  # fmt: skip


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _ALLOWED
        names = {name for name, _ in attrs}
        assert not names & {"src", "href", "xlink:href", "srcset", "action"}
        assert not any(name.startswith("on") for name in names)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: str) -> Reader:
    """Parse a page or a fragment; fail on unknown elements and on what is not closed."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader
