"""Names, near names, words from Python, and what the command says to wrong ones."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

import pytest

import trainworthy
from trainworthy.cli.explain import _list_text
from trainworthy.cli.main import main
from trainworthy.errors import UsageError
from trainworthy.explain import Explanation, all_subjects, answer, find_subject, subject


def test_names_are_unique_and_sorted() -> None:
    found = all_subjects()
    names = [name for one in found.values() for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names))
    assert list(found) == sorted(found)
    assert all(one.examples for one in found.values())
    assert all(not one.summary.endswith(".") for one in found.values())


@pytest.mark.parametrize("name", ["broadcast", "Broadcast", "BROADCASTING", "broadcast_shapes", "broadcast shapes"])
def test_spelling_does_not_matter(name: str) -> None:
    assert find_subject(name).name == "broadcast"


def test_unknown_subjects_name_near_ones() -> None:
    with pytest.raises(UsageError) as wrong:
        find_subject("brodcast")
    assert wrong.value.fix is not None
    assert "Did you mean broadcast?" in wrong.value.fix
    with pytest.raises(UsageError) as wrong:
        find_subject("")
    assert wrong.value.fix is not None
    assert "Did you mean" not in wrong.value.fix


def test_a_second_registration_names_both() -> None:
    def twice(options: argparse.Namespace) -> Explanation:
        raise NotImplementedError

    find_subject("broadcast")
    with pytest.raises(ValueError, match=r"registered twice: .*broadcast and .*test_registry"):
        subject("broadcasting", summary="", group="shapes", arguments=lambda parser: None, examples=[])(twice)


def test_from_python() -> None:
    it = trainworthy.explain("broadcast", (64, 1), (64,))
    assert it.values["result"] == (64, 64)
    assert str(it).startswith("broadcast: (64, 1) with (64,)\nRESULT   (64, 64)")
    assert "<svg" in it._repr_html_()
    with pytest.raises(UsageError, match="letters"):
        answer("broadcast", "letters")
    with pytest.raises(UsageError, match="nrecognized"):
        answer("broadcast", no_such=1)


def test_a_terminal_without_boxes_gets_question_marks() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trainworthy", "explain", "scatter"], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"}, timeout=60,
    )  # fmt: skip
    assert "? 0 ?" in done.stdout
    assert done.stderr == ""


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in all_subjects())
    lines = _list_text(60).splitlines()
    assert max(map(len, lines)) <= 60
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert main(["explain", "--list", "--format", "json"]) == 0
    assert {row["name"] for row in json.loads(capsys.readouterr().out)} == set(all_subjects())


@pytest.mark.parametrize("words", [[], ["--list", "--format", "html"], ["--format", "pdf", "broadcast"]])
def test_wrong_use_leaves_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["explain", *words])
    assert left.value.code == 2
    assert "error" in capsys.readouterr().err


def test_unknown_subject_leaves_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "brodcast"]) == 2
    assert "broadcast" in capsys.readouterr().err


def test_options_stand_before_or_after_the_subject(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--format", "json", "broadcast", "2,1", "3"]) == 0
    before = capsys.readouterr().out
    assert main(["explain", "broadcast", "2,1", "3", "--format=json"]) == 0
    assert capsys.readouterr().out == before
    assert json.loads(before)["values"]["result"] == [2, 3]


def test_shapes_that_do_not_go_together_leave_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "broadcast", "4,3,2", "2,2"]) == 1
    assert "in dimension -2 the sizes are 3 and 2" in capsys.readouterr().out
    assert main(["explain", "broadcast", "4,3,2", "2,2", "--exit-zero"]) == 0
