"""What an explanation is: plain data that text, JSON, HTML and notebooks show alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """A formula and where it comes from.

    Attributes:
        text: One or several lines of plain text.
        source: A paper with its equation, a page, or a file of a library with its version.
    """

    text: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The answer to one question.

    Attributes:
        title: The question with its values, such as "(8, 1, 6, 1) with (7, 1, 5)".
        result: The answer in one line.
        steps: How one gets there, a sentence or two each.
        diagram: A picture in text, at most 78 columns wide; "" if there is none.
        svg: The picture as one ``<svg>`` element in the colours of the page; "" if there is none.
        formulas: What was computed, with sources.
        snippet: Python that runs as it is and asserts what the answer says; "" if there is none.
        notes: What people get wrong here.
        see_also: Names of other subjects.
        values: The numbers of the answer for machines, unit last in the name; None is unknown.
        problem: The answer is no: the shapes do not go together. A command leaves with 1.
        subject: The name of the subject; filled in by `answer`.
    """

    title: str
    result: str
    steps: tuple[str, ...] = ()
    diagram: str = ""
    svg: str = ""
    formulas: tuple[Formula, ...] = ()
    snippet: str = ""
    notes: tuple[str, ...] = ()
    see_also: tuple[str, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    problem: bool = False
    subject: str = ""

    def __str__(self) -> str:
        """Return the explanation as text without colours, wrapped at 100 columns."""
        from trainworthy.explain.text import render_text

        return render_text(self, width=100, color=False)

    def _repr_html_(self) -> str:
        from trainworthy.explain.html import fragment

        return fragment(self)

    def to_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "subject": self.subject,
            "title": self.title,
            "result": self.result,
            "problem": self.problem,
            "values": dict(self.values),
            "steps": list(self.steps),
            "diagram": self.diagram,
            "formulas": [{"text": formula.text, "source": formula.source} for formula in self.formulas],
            "snippet": self.snippet,
            "notes": list(self.notes),
            "see_also": list(self.see_also),
            "svg": self.svg,
        }
