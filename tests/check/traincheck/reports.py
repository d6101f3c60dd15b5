"""The published errors that are reproduced here: what each is, its program, and the program without it.

A page holds what is said about an error, and one program. ``# bug`` marks a line that the fix takes out, ``# fix: ``
begins one that it puts in; ``<- TW301`` marks the line that must be found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
# What needs hardware, a compiler or a version of torch that is broken in a way of its own.
ORDER = (
    "SO-60335387", "84911", "TF-33844", "TF-17877", "PT-51800", "TF-23723", "TF-34204", "MM-702", "TF-33455",
    "TF-29903", "LT-725", "x-jxmnop", "PT-104336", "DS-1801", "DS-5794", "AC-2665", "DS-5489", "DS-6089", "DS-6714",
    "DS-6770", "DS-6772", "SO-67180955", "PT-115607", "PT-84803", "PT-96600", "Baichuan2-86",
)  # fmt: skip
_FIELD = re.compile(r"^(\w+): (.+)$", re.MULTILINE)
_PROGRAM = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FIX = re.compile(r"^(\s*)# fix: (.*)$")
_MARK = re.compile(r"<- (TW\d{3})\s*$")


@dataclass(frozen=True)
class Report:
    """A published error and how it is reproduced."""

    id: str
    link: str
    what: str
    how: str
    depth: str
    ranks: int
    simulated: bool
    code: str
    also: frozenset[str]
    program: str

    @property
    def fixed(self) -> str:
        """The program without the error."""
        lines = []
        for line in self.program.splitlines():
            if "# bug" not in line:
                match = _FIX.match(line)
                lines.append(match[1] + match[2] if match else line)
        return "\n".join(lines) + "\n"

    @property
    def marked(self) -> set[int]:
        """The lines on which the error must be found; none if it is the machine's."""
        return {n for n, line in enumerate(self.program.splitlines(), start=1) if _MARK.search(line)}


def read(name: str) -> Report:
    """Read a page."""
    text = (HERE / f"{name}.md").read_text(encoding="utf-8")
    field = dict(_FIELD.findall(text.split("```")[0]))
    program = _PROGRAM.search(text)
    assert program is not None
    return Report(
        id=name, link=field["link"], what=field["what"], how=field["how"], depth=field["depth"],
        ranks=int(field["ranks"]), simulated=field["simulated"] == "yes", code=field["found"],
        also=frozenset(field.get("also", "").split()),
        program=program[1],
    )  # fmt: skip


REPORTS = {name: read(name) for name in ORDER}
