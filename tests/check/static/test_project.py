"""Modules are read once, and only so many are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainworthy.check.config import Config
from trainworthy.check.run import check_file
from trainworthy.check.static import project as modules
from trainworthy.check.static.project import Project


def write(folder: Path, count: int) -> list[str]:
    for at in range(count):
        (folder / f"m{at}.py").write_text(f"import torch\nx = {at}\n", encoding="utf-8")
    return [str(folder / f"m{at}.py") for at in range(count)]


def test_a_module_that_was_imported_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path,) = write(tmp_path, 1)
    project = Project()
    found = project.find("m0", importer=str(tmp_path / "main.py"))
    assert found is not None
    assert project.known(path) is found
    monkeypatch.setattr("trainworthy.check.run.read_source", None)
    assert check_file(path, Config(), project=project).lines == 3


def test_one_that_was_read_under_another_path_is_read_anew(tmp_path: Path) -> None:
    (path,) = write(tmp_path, 1)
    (tmp_path / "sub").mkdir()
    other = str(tmp_path / "sub" / ".." / "m0.py")
    project = Project()
    check_file(path, Config(), project=project)
    assert project.known(other) is None
    assert check_file(other, Config(), project=project).path == other


def test_those_that_were_asked_for_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules, "_MAX_MODULES", 3)
    paths = write(tmp_path, 5)
    project, main = Project(), str(tmp_path / "main.py")
    first = project.find("m0", importer=main)
    for at in range(1, 5):
        assert project.find(f"m{at}", importer=main) is not None
        assert project.find("m0", importer=main) is first
    assert [project.known(path) is not None for path in paths] == [True, False, False, True, True]
