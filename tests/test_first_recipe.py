"""The first recipe of the docs is short, and does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trainworthy.cli.main import main

PAGE = Path(__file__).parent.parent / "docs" / "first-recipe.md"


def test_the_recipe_of_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) < 40
    path = tmp_path / "moons_of_the_docs.py"
    path.write_text(code)
    assert main(["train", str(path), "--output", str(tmp_path / "run"), "train.tensorboard=false"]) == 0
    assert "stated at least 0.97: met" in capsys.readouterr().out


def test_every_command_of_the_page_names_settings_that_exist(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (tmp_path / "my_recipe.py").write_text(code)
    from trainworthy.train.config import resolve
    from trainworthy.train.find_recipe import find_recipe

    source = find_recipe(str(tmp_path / "my_recipe.py"))
    commands = re.findall(r"^trainworthy train my_recipe\.py(.*?)(?:#.*)?$", PAGE.read_text(), flags=re.MULTILINE)
    assert len(commands) == 4
    for words in commands:
        resolve(source, words=[word for word in words.split() if "=" in word and not word.startswith("-")])
