"""An explanation as a fragment for notebooks, and as one page: offline, without scripts.

The page has a style of its own: the report's lies behind imports that take longer than an explanation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from trainworthy.explain.explanation import Explanation

_STYLE = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { margin: 0; font: 15px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 24px 20px 60px; }
h2 { font-size: 20px; margin: 34px 0 8px; overflow-wrap: anywhere; }
h3 { font-size: 12px; margin: 18px 0 2px; text-transform: uppercase; letter-spacing: .06em; opacity: .7; }
.answer { margin: 0; padding: 12px 16px; border-left: 6px solid; border-radius: 4px; font-size: 18px; }
.good { border-color: #2a9d4a; background: #2a9d4a22; }
.bad { border-color: #d33a2c; background: #d33a2c22; }
figure { margin: 16px 0 4px; overflow-x: auto; }
ol, ul { margin: 0; padding-left: 24px; }
pre { overflow-x: auto; padding: 10px 14px; border: 1px solid var(--line); border-radius: 6px; font-size: 13px; }
.source { font-size: 13px; opacity: .75; margin: -6px 0 8px; overflow-wrap: anywhere; }
summary { cursor: pointer; font-size: 13px; }
"""


def render_html(explanations: Sequence[Explanation]) -> str:
    """Render explanations as one self-contained page."""
    title = ", ".join(f"{one.subject}: {one.title}" for one in explanations[:1])
    body = "\n".join(fragment(one) for one in explanations)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n"
        "</main>\n</body>\n</html>\n"
    )


def fragment(explanation: Explanation) -> str:
    """Render one explanation as a ``<section>`` that takes fonts and colours of the page it stands in."""
    return "<section>" + "\n".join(_parts(explanation)) + "</section>"


def _parts(it: Explanation) -> Iterator[str]:
    yield f"<h2>{escape(f'{it.subject}: {it.title}' if it.subject else it.title)}</h2>"
    kind = "bad" if it.problem else "good"
    yield f'<p class="answer {kind}"><strong>{escape(it.result)}</strong></p>'
    if it.svg:
        yield f"<figure>{it.svg}</figure>"
    if it.diagram:
        text = f"<pre>{escape(it.diagram)}</pre>"
        yield f"<details><summary>The same as text</summary>{text}</details>" if it.svg else text
    if it.steps:
        yield "<h3>Steps</h3>" + _list("ol", it.steps)
    if it.formulas:
        yield "<h3>Formula</h3>"
        for formula in it.formulas:
            yield f'<pre>{escape(formula.text)}</pre><p class="source">source: {escape(formula.source)}</p>'
    if it.notes:
        yield "<h3>Beware</h3>" + _list("ul", it.notes)
    if it.snippet:
        yield f"<h3>Try it</h3><pre>{escape(it.snippet.rstrip())}</pre>"
    if it.see_also:
        yield f"<h3>See also</h3><p>{escape(', '.join(it.see_also))}</p>"


def _list(tag: str, items: Sequence[str]) -> str:
    return f"<{tag}>" + "".join(f"<li>{escape(item)}</li>" for item in items) + f"</{tag}>"
