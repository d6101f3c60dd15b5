"""The catalogue told again: programs are marked, and their two versions can be read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from benchmarks.catalogue import read_rows
from benchmarks.retold import PROGRAMS, marked_lines, row_of, summary, versions

FILES = sorted(PROGRAMS.glob("P*.py"))


def test_every_row_with_two_tellings_has_both() -> None:
    counts = Counter(path.stem[:4] for path in FILES)
    assert set(counts) <= {row.number for row in read_rows()}
    assert set(counts.values()) == {2, 3, 4}
    assert len(FILES) >= 340


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_both_versions_are_python_and_differ(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    wrong, right = versions(text)
    assert marked_lines(text)
    assert compile(wrong, path.name, "exec") != compile(right, path.name, "exec")
    assert len(wrong.split("\n")) == len(right.split("\n")) == len(text.split("\n"))


def test_a_line_is_replaced_by_several_and_lines_are_added() -> None:
    text = "x = 1  # BUG\n# FIX: x = 2\n# FIX: y = 3\nif x:\n    z = x\n    # FIX+: z += 1\nw = 4  # BUG\nend()"
    wrong, right = versions(text)
    assert " ".join(wrong.split()) == "x = 1 if x: z = x w = 4 end()"
    assert " ".join(right.split()) == "x = 2 y = 3 if x: z = x z += 1 w = 4 end()"
    assert marked_lines(text) == {1, 7}


def test_verdicts(tmp_path: Path) -> None:
    program = tmp_path / "P009z.py"
    program.write_text(
        "import numpy as np\n\na = np.ones(3)\nkeep = (a > 0) and (a < 2)  # BUG\n# FIX: keep = (a > 0) & (a < 2)\n"
    )
    row = row_of(program, "static", ["TW103"])
    assert (row["verdict"], row["codes"], row["right"]) == ("found", ["TW103"], [])
    program.write_text("a = 1  # BUG\n# FIX: a = 2\n")
    missed = row_of(program, "static", ["TW103"])
    assert missed["verdict"] == "missed"
    assert summary([row, missed]) == {"static": {"found": 1, "missed": 1, "alarms": 0}}
