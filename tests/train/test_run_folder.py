"""The folder of a run: what is in it, and that another run is never overwritten."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from trainworthy.train.config import Resolved, resolve
from trainworthy.train.find_recipe import RecipeSource
from trainworthy.train.recipe import Phase, Recipe, TrainOptions
from trainworthy.train.run_folder import prepare, read_starts
from trainworthy.train.schema import ConfigError, recipe_settings


def make(*, lr: float = 0.1, kind: str = "a") -> Recipe:
    assert lr or kind
    phase = Phase(loss=print, optimizer=print)  # type: ignore[arg-type]
    return Recipe(
        model=print, phases=(phase,), train_data=[1], options=TrainOptions(steps=5)  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.fixture
def settled(tmp_path: Path) -> Callable[..., Resolved]:
    path = tmp_path / "mine.py"
    path.write_text("# first\n")

    def settle(*words: str, name: str = "mine.py") -> Resolved:
        settings: Mapping[str, Any] = recipe_settings(make, "mine.py")
        return resolve(RecipeSource(name, path, make, settings), words=words)

    return settle


def test_what_is_in_it(tmp_path: Path, settled: Callable[..., Resolved]) -> None:
    folder = tmp_path / "deep" / "run"
    assert prepare(folder, settled("lr=0.2"), words=["mine.py", "lr=0.2"], ranks=2) is None
    assert sorted(each.name for each in folder.iterdir()) == ["config.yaml", "environment.json", "recipe.py"]
    assert (folder / "recipe.py").read_text() == "# first\n"
    assert "lr: 0.2\n" in (folder / "config.yaml").read_text()
    (start,) = json.loads((folder / "environment.json").read_text())["starts"]
    assert start["recipe"] == "mine.py"
    assert start["command"] == ["trainworthy", "train", "mine.py", "lr=0.2"]
    assert start["ranks"] == 2
    assert {"python", "trainworthy", "torch"} <= set(start["versions"])
    again = resolve(settled().source, file=folder / "config.yaml")
    assert again.settings == settled("lr=0.2").settings


def test_the_same_run_goes_on(tmp_path: Path, settled: Callable[..., Resolved]) -> None:
    folder = tmp_path / "run"
    prepare(folder, settled(), words=[])
    before = (folder / "config.yaml").read_text()
    assert prepare(folder, settled("train.workers=3", "train.log_every=1"), words=[]) is None
    assert (folder / "config.yaml").read_text() == before
    assert len(read_starts(folder)) == 2


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["lr=0.2"], ["lr 0.1 there and 0.2 here"]),
        (["kind=b", "train.seed=4"], ["kind 'a' there and 'b' here", "train.seed 0 there and 4 here"]),
        (["train.epochs=2"], ["train.epochs not set there and 2 here", "train.steps 5 there and not set here"]),
    ],
)
def test_another_run_is_refused(
    tmp_path: Path, settled: Callable[..., Resolved], words: list[str], texts: list[str]
) -> None:
    folder = tmp_path / "run"
    prepare(folder, settled(), words=[])
    held = {each.name: each.read_bytes() for each in folder.iterdir()}
    with pytest.raises(ConfigError) as caught:
        prepare(folder, settled(*words), words=[])
    assert [text for text in texts if text not in str(caught.value)] == []
    assert "\n" not in str(caught.value)
    assert held == {each.name: each.read_bytes() for each in folder.iterdir()}


def test_another_recipe_is_refused(tmp_path: Path, settled: Callable[..., Resolved]) -> None:
    prepare(tmp_path / "run", settled(), words=[])
    with pytest.raises(ConfigError, match=r"the recipe is mine\.py there and digits here"):
        prepare(tmp_path / "run", settled(name="digits"), words=[])


def test_a_folder_of_something_else_is_refused(tmp_path: Path, settled: Callable[..., Resolved]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("")
    for name, text in (("full", "holds files"), ("mine.py", "is a file")):
        with pytest.raises(ConfigError, match=text):
            prepare(tmp_path / name, settled(), words=[])
    with pytest.raises(ConfigError, match="cannot be made"):
        prepare(tmp_path / "mine.py" / "run", settled(), words=[])


def test_a_changed_recipe_is_said(tmp_path: Path, settled: Callable[..., Resolved]) -> None:
    prepare(tmp_path / "run", settled(), words=[])
    (tmp_path / "mine.py").write_text("# second\n")
    warning = prepare(tmp_path / "run", settled(), words=[])
    assert warning is not None
    assert "was changed since" in warning
    assert (tmp_path / "run" / "recipe.py").read_text() == "# first\n"


def test_an_environment_cut_short_is_begun_anew(tmp_path: Path, settled: Callable[..., Resolved]) -> None:
    prepare(tmp_path / "run", settled(), words=[])
    (tmp_path / "run" / "environment.json").write_text('{"starts": [')
    assert prepare(tmp_path / "run", settled(), words=[]) is None
    assert len(read_starts(tmp_path / "run")) == 1
