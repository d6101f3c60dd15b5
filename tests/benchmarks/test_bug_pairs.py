"""The manifest of replayed bugs is well formed, and places are read as they are meant."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from benchmarks.bug_pairs import export, function_at, git_folder, gone, half_of, manifest, placed

from trainworthy.check.rule import all_rules


def test_every_pair_names_two_commits_a_rule_and_a_half() -> None:
    pairs, rules = manifest(), all_rules()
    assert len({(one["repository"], one["fix"], one["path"]) for one in pairs}) == len(pairs) >= 70
    for one in pairs:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", one["repository"])
        assert re.fullmatch(r"[0-9a-f]{12}", one["parent"])
        assert re.fullmatch(r"[0-9a-f]{12}", one["fix"])
        assert one["parent"] != one["fix"]
        if one["code"]:
            assert one["depth"] in rules[one["code"]].depths
        assert one["half"] in (
            "seen",
            "held-out",
            "fresh",
            "fresh-2-train",
            "fresh-2-test",
            "fresh-3-train",
            "fresh-3-test",
            "fresh-4-train",
            "fresh-4-test",
            "fresh-4-other",
            "fresh-5",
            "fresh-6",
            "fresh-7",
            "fresh-8",
            "fresh-9",
        )
        assert one.get("kind", "domain") == "domain"
        assert one["where"]
        assert one["what"]


def test_the_innermost_function_around_a_line_is_named() -> None:
    text = "x = 1\nclass A:\n    def f(self):\n        def g():\n            return 1\n        return g\n"
    assert [function_at(text, line) for line in range(1, 7)] == ["", "A", "A.f", "A.f.g", "A.f.g", "A.f"]
    assert function_at("def broken(:\n", 1) == ""


def test_findings_elsewhere_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n\n\ndef f():\n    return 2\n")
    (tmp_path / "b.py").write_text("y = 3\n")
    (tmp_path / "c.ipynb").write_text(json.dumps({"cells": []}))
    found = [{"code": "TW101", "path": str(tmp_path / name), "line": line, "cell": None, "message": "m"}
             for name, line in (("a.py", 1), ("a.py", 5), ("b.py", 1), ("c.ipynb", 1))]  # fmt: skip
    pair = {"path": "a.py", "where": "f"}
    assert placed(tmp_path, pair, found) == [("TW101", 5, "return 2")]
    assert placed(tmp_path, {**pair, "where": "-"}, found) == [("TW101", 1, "x = 1")]
    assert placed(tmp_path, {**pair, "where": "f,b.py::*"}, found) == [("TW101", 5, "return 2"), ("TW101", 1, "y = 3")]
    assert placed(tmp_path, {"path": "c.ipynb", "where": "-"}, found) == [("TW101", 1, "cell None: m")]


def test_what_the_fix_still_says_is_not_gone() -> None:
    before = [("TW209", 4, "clip()"), ("TW209", 9, "step()"), ("TW301", 4, "clip()")]
    assert gone(before, [("TW209", 40, "clip()")]) == [("TW209", 9, "step()"), ("TW301", 4, "clip()")]


def test_domain_mistakes_make_halves_of_their_own() -> None:
    assert half_of({"half": "fresh", "kind": "mechanism"}) == "fresh"
    assert half_of({"half": "fresh", "kind": "domain"}) == "fresh, domain"


def test_a_commit_is_written_out_without_what_is_not_python(tmp_path: Path) -> None:
    clone = tmp_path / "owner+name"
    clone.mkdir()
    (clone / "sub").mkdir()
    (clone / "sub" / "a.py").write_text("x = 1\n")
    (clone / "data.bin").write_bytes(b"\0" * 10)
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-qm", "m"],
    ):
        subprocess.run(["git", "-C", str(clone), *words], check=True)
    git = git_folder(tmp_path, "owner/name")
    assert git == clone / ".git"
    assert export(git, "HEAD", tmp_path / "out")
    assert [one.name for one in (tmp_path / "out").rglob("*") if one.is_file()] == ["a.py"]
    assert not export(git, "0" * 40, tmp_path / "other")
    assert git_folder(tmp_path, "owner/other") is None
