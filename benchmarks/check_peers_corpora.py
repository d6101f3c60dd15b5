"""The programs that the checkers are run on: bugs, each with its right twin where there is one, and right programs.

The bugs are ours: programs that were written to show a mistake of the catalogue, the reproductions of TrainCheck's
published errors, the bugs of a notebook, and the programs of the rules' case files. Whoever writes both a rule and its
bug finds it; ``check_peers_fixtures.py`` therefore looks at the programs of the other tools.
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.catalogue import read_manifest, read_rows
from benchmarks.common import ROOT

HERE = Path(__file__).parent
TOO_LARGE = {"P154", "P155", "P190"}  # to run on a CPU; all are about the speed or memory of a GPU
MARK = re.compile(r"  # <-.*$|  # bug$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program, and what is wrong with it.

    Attributes:
        name: Unique.
        corpus: What it belongs to.
        text: What every tool is given; it runs on a CPU.
        right: Whether nothing is wrong.
        codes: What we call the mistake.
        lines: Where it is.
        written: The text for the virtual GPU, if it differs.
        twin: Of a bug, the name of the program without it.
        runs: Whether it may be run; the case files hold fragments.
        path: Of a public script, the file; then ``text`` is empty for tools that run it.
        arguments: Of a public script.
    """

    name: str
    corpus: str
    text: str
    right: bool
    codes: tuple[str, ...] = ()
    lines: tuple[int, ...] = ()
    written: str = ""
    twin: str = ""
    runs: bool = True
    path: str = ""
    arguments: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def read_toml(name: str) -> dict[str, Any]:
    """Read a table beside this file."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    return tomllib.loads((HERE / name).read_text(encoding="utf-8"))


def on_cpu(text: str) -> str:
    """Let a program for a GPU run on a CPU; every line stays where it is."""
    return text.replace(".cuda()", "").replace('"cuda"', '"cpu"')


def made_right(text: str, changes: list[list[str]]) -> str:
    """Return a program without its mistake."""
    text = MARK.sub("", text)
    for old, new in changes:
        if text.count(old) != 1:
            raise ValueError(f"{old!r} stands in the program {text.count(old)} times, not once")
        text = text.replace(old, new)
    return text


def catalogue() -> list[Program]:
    """Return the programs of the catalogue, and their twins."""
    manifest, twins = read_manifest(), read_toml("check_peers_twins.toml")
    found: list[Program] = []
    for row in read_rows():
        right = row.number in manifest["no_mistake"]
        written = row.program if row.depth == "dry" else ""
        found.append(Program(
            name=row.number, corpus="catalogue", text=on_cpu(row.program), right=right, written=written,
            codes=tuple(manifest["codes"].get(row.number, ())), lines=tuple(sorted(row.lines)),
            twin=f"{row.number}-right" if row.number in twins else "", runs=row.number not in TOO_LARGE,
        ))  # fmt: skip
        if row.number in twins:
            text = made_right(row.program, twins[row.number])
            written = text if row.depth == "dry" else ""
            name = f"{row.number}-right"
            found.append(Program(name=name, corpus="catalogue", text=on_cpu(text), right=True,
                                 written=written))  # fmt: skip
    return found


def traincheck() -> list[Program]:
    """Return the reproductions of TrainCheck's errors that need one process, and the programs without them."""
    from check.traincheck.reports import REPORTS

    found: list[Program] = []
    for report in (one for one in REPORTS.values() if one.ranks == 1):
        found += [
            Program(name=report.id, corpus="traincheck", text=report.program, right=False,
                    codes=(report.code, *report.also), lines=tuple(sorted(report.marked)), twin=f"{report.id}-right"),
            Program(name=f"{report.id}-right", corpus="traincheck", text=MARK.sub("", report.fixed), right=True),
        ]  # fmt: skip
    return found


def notebook() -> list[Program]:
    """Return the bugs of a notebook on distributed training."""
    from check.test_notebook_bugs import LIVE, NOT_A_BUG, STATIC, marked

    bugs = [
        Program(name=f"notebook-{number}", corpus="notebook", text=text.lstrip("\n"), right=False,
                codes=(name.partition(" ")[0],), lines=tuple(marked(text)))
        for number, (name, text) in enumerate({**STATIC, **LIVE}.items(), start=1)
    ]  # fmt: skip
    return [*bugs, Program(name="notebook-right", corpus="notebook", text=NOT_A_BUG.lstrip("\n"), right=True)]


def case_files() -> list[Program]:
    """Return the programs of the rules' case files: all are read; the first right one of each live rule is run."""
    from check.depths import marks, read_cases

    found: list[Program] = []
    for file in sorted((ROOT / "tests" / "cases").glob("TW*.md")):
        for case in read_cases(file):
            marked = tuple(marks(case.program))
            if case.depth == "live" and not marked:
                first = not any(one.runs and one.name.startswith(file.stem) for one in found)
                name = f"{file.stem}-{case.number}"
                found.append(Program(name=name, corpus="live", text=case.program, right=True, runs=first))
            if case.depth == "static":
                found.append(Program(
                    name=f"{file.stem}-{case.number}", corpus="static", text=case.program, right=not marked,
                    codes=tuple(sorted({code for _, code in marked})), lines=tuple(sorted({n for n, _ in marked})),
                    runs=False,
                ))  # fmt: skip
    return found


def examples() -> list[Program]:
    """Return our own examples, which are clean; they are only read, since they are made for a GPU."""
    files = sorted((ROOT / "examples").glob("*.py"))
    return [
        Program(name=f"example-{file.stem}", corpus="examples", text=file.read_text(encoding="utf-8"), right=True,
                runs=False)
        for file in files
    ]  # fmt: skip


def public(checkouts: Path, work: Path) -> list[Program]:
    """Return public scripts, each in a folder of its own; they are taken to be right, and findings are read."""
    import shutil

    found = []
    for one in read_toml("check_peers.toml")["public"]:
        folder = work / one["repo"]
        if not folder.exists():
            shutil.copytree(checkouts / one["repo"], folder, symlinks=True)
        for script in one["scripts"]:
            name, _, words = script.partition(" ")
            path = folder / name
            found.append(Program(
                name=f"{one['repo'].partition('/')[2]}-{Path(name).with_suffix('').as_posix().replace('/', '-')}",
                corpus="public", text=path.read_text(encoding="utf-8"), right=True, path=str(path),
                arguments=tuple(shlex.split(words)),
            ))  # fmt: skip
    return found
