"""How many rows of a catalogue of mistakes are found, each by the program that shows it, at the depth that it names.

``tests/cases/catalogue/*.md`` holds a program of our own for each row, under a heading ``## P029 dry``: the row's
number
and its depth (static, dry, live). The line of the mistake is marked ``# <- P029``. ``catalogue.toml`` says which codes
count as the mistake's name, and which rows have no program and why. A row is found if the command of its depth
(``check``, ``check --rehearse``, ``check --live``, with all rules on) prints one of its codes on a marked line.

    python -m benchmarks.catalogue [P029 ...]
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT, environment, read_result, write_result

PROGRAMS = ROOT / "tests" / "cases" / "catalogue"
MANIFEST = Path(__file__).with_name("catalogue.toml")
_SECTION = re.compile(r"^## (P\d{3}) (static|dry|live)\n\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMANDS = {"static": [], "dry": ["--rehearse"], "live": ["--live", "20"]}
# What the programs found when they were written, before any rule was changed for them: 77 of 152 on the marked line.
FIRST_TRY = {"date": "2026-11-26", "programs": 152, "found": 77}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row with a program."""

    number: str
    family: str
    depth: str
    program: str

    @property
    def lines(self) -> set[int]:
        """The marked lines."""
        return {n for n, line in enumerate(self.program.split("\n"), start=1) if f"# <- {self.number}" in line}


def read_rows() -> list[Row]:
    """Read every program, by number."""
    found = [
        Row(number=number, family=file.stem, depth=depth, program=program)
        for file in sorted(PROGRAMS.glob("*.md"))
        for number, depth, program in _SECTION.findall(file.read_text(encoding="utf-8"))
    ]
    return sorted(found, key=lambda row: row.number)


def read_manifest() -> dict[str, Any]:
    """Read which codes name a row, and which rows have none."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads(MANIFEST.read_text(encoding="utf-8"))


def named(row: Row, found: list[tuple[str, int]], codes: list[str]) -> list[str]:
    """Return the codes of a row that were found on a marked line; what the machine does wrong has no line."""
    return sorted({code for code, line in found if (line in row.lines or not row.lines) and code in codes})


def check(row: Row, folder: Path) -> tuple[list[tuple[str, int]], str]:
    """Run the command of a row's depth; return codes with lines, and what the script raised."""
    path = folder / "program.py"
    path.write_text(row.program, encoding="utf-8")
    words = ["check", "--isolated", "--select", "ALL", "--format", "json", *_COMMANDS[row.depth], path.name]
    run = subprocess.run(
        [sys.executable, "-m", "trainworthy", *words], cwd=folder, capture_output=True, text=True, timeout=120,
        env=environment(), check=False,
    )  # fmt: skip
    findings = json.loads(run.stdout)["findings"]
    found = [(one["code"], one["line"]) for one in findings]
    raised = re.search(r"^The script failed \(.*?:(\d+)\)", run.stderr, re.MULTILINE)
    if raised:
        found.append(("raises", int(raised[1])))
    return found, run.stderr.strip()[-300:]


def main(words: list[str]) -> None:
    """Check every row, or those named, and store the result; the other rows of a stored result stay."""
    manifest, rows = read_manifest(), read_rows()
    listed: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            if words and row.number not in words:
                continue
            found, said = check(row, Path(folder))
            codes = manifest["codes"].get(row.number, [])
            hit = named(row, found, codes)
            others = sorted({f"{code}:{line}" for code, line in found} - {f"{c}:{n}" for c, n in found if c in codes})
            listed.append({"row": row.number, "family": row.family, "depth": row.depth, "codes": codes, "found": hit,
                           "others": others})  # fmt: skip
            print(
                row.number, row.depth, " ".join(hit) or "NOT FOUND", " ".join(others), "" if hit else said, flush=True
            )
    stored = (read_result("catalogue") or {}).get("rows", []) if words else []
    known = {row.number for row in rows}
    new = {one["row"] for one in listed}
    listed += [one for one in stored if one["row"] in known - new]
    write_result("catalogue", **summary(sorted(listed, key=lambda one: one["row"]), manifest))


def summary(listed: list[dict[str, Any]], manifest: dict[str, Any]) -> dict[str, Any]:
    """Count: rows that can be found are those that are mistakes and need one run."""
    right = manifest["no_mistake"]
    rows = [one for one in listed if one["row"] not in right]
    without = [row for row in manifest["not_found"] if row not in {one["row"] for one in rows}]
    return {
        "rows": rows, "not_found": manifest["not_found"], "simulated": manifest["simulated"],
        "rewritten": manifest["rewritten"], "verify": manifest["verify"]["rows"],
        "no_mistake": right,
        "found": sum(bool(one["found"]) for one in rows), "of": len(rows) + len(without), "first_try": FIRST_TRY,
    }  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
