"""Every right twin is made, is a program of its own, and is right; counts are those of answers made by hand."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from benchmarks.check_peers import count, our_findings, together, torchfix_findings
from benchmarks.check_peers_corpora import Program, made_right, on_cpu
from benchmarks.check_peers_traincheck import violated

from benchmarks import check_peers_corpora as corpora
from check.depths import findings

PROGRAMS = corpora.catalogue()
TWINS = {one.name: one for one in PROGRAMS if one.name.endswith("-right")}


def test_every_twin_is_of_a_row_and_differs() -> None:
    bugs = {one.twin: one for one in PROGRAMS if one.twin}
    assert set(bugs) == set(TWINS) == {f"{row}-right" for row in corpora.read_toml("check_peers_twins.toml")}
    for name, twin in TWINS.items():
        ast.parse(twin.text)
        assert twin.right
        assert corpora.MARK.sub("", bugs[name].text) != twin.text


@pytest.mark.parametrize("twin", TWINS.values(), ids=lambda twin: twin.name)
def test_the_source_of_a_twin_shows_no_mistake(twin: Program, tmp_path: Path) -> None:
    found = findings(twin.text, "static", tmp_path / "program.py")
    assert [(f.code, f.place.line) for f in found if f.severity == "error"] == []


def test_lines_stay_where_they_are() -> None:
    assert on_cpu('x.cuda()\ny.to("cuda")  # <- P001\n') == 'x\ny.to("cpu")  # <- P001\n'
    assert made_right("a = 1  # <- P001\nb = 2\n", [["a = 1", "a = 3"]]) == "a = 3\nb = 2\n"
    with pytest.raises(ValueError, match="2 times"):
        made_right("a = 1\na = 1\n", [["a = 1", "a = 3"]])


def test_corpora_have_names_of_their_own() -> None:
    programs = [*PROGRAMS, *corpora.traincheck(), *corpora.notebook(), *corpora.case_files(), *corpora.examples()]
    assert len({one.name for one in programs}) == len(programs)


def answer(name: str, *found: tuple[str, int], crashed: bool = False, seconds: float = 1.0) -> dict[str, Any]:
    return {"name": name, "found": [list(one) for one in found], "crashed": crashed, "seconds": seconds}


def test_counts() -> None:
    bug = Program(name="a", corpus="c", text="", right=False, codes=("TW101",), lines=(3,), twin="a-right")
    other = Program(name="b", corpus="c", text="", right=False, codes=("TW102",), lines=(5,))
    programs = [bug, other, Program(name="a-right", corpus="c", text="", right=True)]
    plain = {name: answer(name, seconds=0.5) for name in ("a", "b", "a-right")}
    ours = {
        "a": answer("a", ("TW101", 3)), "b": answer("b", ("TW102", 4)), "a-right": answer("a-right", crashed=True),
    }  # fmt: skip
    got = count("trainworthy check", programs, ours, plain, {})
    assert (got["named"], got["told_apart"], got["any"]) == (["a"], ["a"], ["a", "b"])
    assert (got["bugs"], got["right"], got["with_twin"]) == (2, 1, 1)
    assert (got["disturbed"], got["crashed"]) == ({}, ["a-right"])
    assert (got["cpu_seconds"], got["times_plain"]) == (2.0, 2.0)
    theirs = {"a": answer("a", ("TA1", 0)), "a-right": answer("a-right", ("TA1", 0), ("TA2", 0))}
    got = count("torch-audit", programs, theirs, plain, {"torch-audit": {"a": ["TA1"]}})
    assert (got["named"], got["told_apart"], got["disturbed"]) == (["a"], [], {"a-right": ["TA1", "TA2"]})


def test_parts_are_put_together() -> None:
    bug = Program(name="a", corpus="c", text="", right=False, codes=("TW101",), lines=(3,))
    parts = [count("trainworthy check", [bug], {"a": answer("a", *found)}, {}, {}) for found in ([], [("TW101", 3)])]
    got = together([bug], parts)
    assert (got["named"], got["any"], got["cpu_seconds"], got["bugs"]) == (["a"], ["a"], 2.0, 1)


def test_what_tools_print_is_read(tmp_path: Path) -> None:
    said = "/x/P1.py:3:5 TOR002 Likely typo\nFinished checking 1 files.\n"
    assert list(torchfix_findings(said)) == [("/x/P1.py", "TOR002", 3)]
    one = {"path": "P1.py", "code": "TW101", "line": 3}
    text = f'{{"findings": [{_json(one, "error")}, {_json(one, "hint")}]}}'
    assert list(our_findings(text)) == [("P1.py", "TW101", 3)]
    (tmp_path / "violations_summary.json").write_text('{"violations": [{"display_name": "x", "relation_type": "R"}]}')
    assert violated(tmp_path) == {"x": "R"}


def _json(one: dict[str, Any], severity: str) -> str:
    return json.dumps({**one, "severity": severity})
