"""Settings of a run: precedence, the file that is saved, and forty mistakes that each get one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.train.config import FREE_TO_CHANGE, Resolved, differing, read_saved, read_words, resolve
from trainworthy.train.find_recipe import find_recipe
from trainworthy.train.schema import ConfigError, fitted, options_settings

RECIPE = """
from __future__ import annotations
from typing import Literal
from trainworthy.train import Phase, Recipe, TrainOptions

def recipe(*, lr: float = 0.1, width: int = 8, name: str = "a", kind: Literal["relu", "gelu"] = "relu",
           tall: bool = False, depth: int | None = None, sizes: tuple[int, ...] = (1, 2)) -> Recipe:
    if width > 1000:
        raise ValueError("too wide")
    made.append((lr, width, name, kind, tall, depth, sizes))
    phase = Phase(loss=print, optimizer=print)
    return Recipe(model=print, phases=(phase,), train_data=[1, 2], options=TrainOptions(steps=50, batch_size=4))

made = []

def needs(*, data: str) -> Recipe:
    return recipe(name=data)

def not_a_recipe() -> int:
    return 3

def forgot() -> Recipe:
    recipe()

def positional(lr: float, /) -> Recipe: ...
def starred(*sizes: int) -> Recipe: ...
def untyped(*, lr=0.1) -> Recipe: ...
def strange(*, lr: dict = {}) -> Recipe: ...
def wrong_default(*, lr: float = "high") -> Recipe: ...
def reserved(*, train: int = 3) -> Recipe: ...
def no_phases() -> Recipe:
    return Recipe(model=print, phases=(), train_data=[1])
def twins() -> Recipe:
    return Recipe(model=print, phases=(Phase(loss=print, optimizer=print),) * 2, train_data=[1])
def no_data() -> Recipe:
    return Recipe(model=print, phases=(Phase(loss=print, optimizer=print),), train_data=[])
def bad_options() -> Recipe:
    phase = Phase(loss=print, optimizer=print)
    return Recipe(model=print, phases=(phase,), train_data=[1], options=TrainOptions(batch_size="many"))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "mine.py").write_text(RECIPE)
    before = Path.cwd()
    os.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    os.chdir(before)

    for name in [name for name, module in sys.modules.items() if str(tmp_path) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def settle(*words: str, yaml: str | None = None, recipe: str = "mine.py") -> Resolved:
    file = None
    if yaml is not None:
        file = Path("run.yaml")
        file.write_text(yaml)
    return resolve(find_recipe(recipe), file=file, words=words)


def test_defaults_then_recipe_then_file_then_words(folder: Path) -> None:
    plain = settle()
    assert plain.recipe.options.steps == 50  # the recipe's own
    assert plain.recipe.options.precision == "fp32"  # the default of every run
    merged = settle("lr=0.3", "train.seed=7", yaml="lr: 0.2\nwidth: 16\ntrain:\n  seed: 5\n  batch_size: 2\n")
    assert (merged.settings["lr"], merged.settings["width"]) == (0.3, 16)
    assert (merged.recipe.options.seed, merged.recipe.options.batch_size) == (7, 2)


def test_the_function_gets_its_settings_with_their_types(folder: Path) -> None:
    found = settle("lr=1", "name=no", "kind=gelu", "tall=true", "depth=1e1", "sizes=[3]")
    made = found.source.function.__globals__["made"]
    assert made[-1] == (1.0, 8, "no", "gelu", True, 10, (3,))
    assert [type(each) for each in made[-1]] == [float, int, str, str, bool, int, tuple]


def test_epochs_of_the_user_replace_steps_of_the_recipe(folder: Path) -> None:
    options = settle("train.epochs=3").recipe.options
    assert (options.steps, options.epochs) == (None, 3)


def test_what_is_saved_is_accepted_back_and_says_the_same(folder: Path) -> None:
    for words in (["lr=1e-4", "name=off", "sizes=[7,8,9]", "depth=null"], ["train.epochs=2", "train.ema_decay=0.9"]):
        first = settle(*words)
        again = settle(yaml=first.to_yaml())
        assert again.settings == first.settings
        assert again.recipe.options == first.recipe.options
        assert again.to_yaml() == first.to_yaml()


def test_one_setting_may_refer_to_another(folder: Path) -> None:
    found = settle("train.seed=${width}", yaml="lr: ${train.ema_decay}\ntrain: {ema_decay: 0.5}\n")
    assert found.settings["lr"] == 0.5
    assert found.recipe.options.seed == 8


def test_dotted_keys_in_a_file_and_unquoted_exponents(folder: Path) -> None:
    found = settle(yaml="lr: 1e-4\ntrain.steps: 1e2\n")
    assert found.settings["lr"] == 1e-4
    assert found.recipe.options.steps == 100


def test_what_differs_between_two_runs(folder: Path) -> None:
    old = settle("lr=0.1")
    (folder / "saved.yaml").write_text(old.to_yaml())
    saved = read_saved(folder / "saved.yaml")
    new = settle("lr=0.2", "train.workers=2")
    names = [key for key in differing(saved, new.settings) if key not in {"train.epochs", "train.steps"}]
    assert names == ["lr"]
    assert "train.workers" in differing(saved, new.settings, all_keys=True)
    assert set(new.settings) >= FREE_TO_CHANGE


# Each row: the recipe, the words, the file or None, and texts that the one line must have; the key is the first.
MISTAKES: list[tuple[str, list[str], str | None, tuple[str, ...]]] = [
    ("mine.py", ["lrr=1"], None, ("lrr", "did you mean lr?")),
    ("mine.py", ["train.stesp=1"], None, ("train.stesp", "did you mean train.steps?")),
    ("mine.py", ["trian.steps=1"], None, ("trian.steps", "did you mean train.steps?")),
    ("mine.py", ["steps=1"], None, ("steps", "did you mean train.steps?")),
    ("mine.py", ["lr.x=1"], None, ("lr.x", "did you mean lr?")),
    ("mine.py", ["optimizer=adam"], None, ("optimizer", "lr, width, name")),
    ("mine.py", ["lr=abc"], None, ("lr", "must be a finite number")),
    ("mine.py", ["lr=[1]"], None, ("lr", "[1]", "must be a finite number")),
    ("mine.py", ["lr=nan"], None, ("lr", "must be a finite number")),
    ("mine.py", ["lr="], None, ("lr", "no value")),
    ("mine.py", ["lr=[1"], None, ("lr", "must be a finite number")),
    ("mine.py", ["lr"], None, ("lr", "lr=VALUE")),
    ("mine.py", ["lr:0.1"], None, ("lr", "lr=VALUE")),
    ("mine.py", ["lr =0.1"], None, ("lr", "blanks")),
    ("mine.py", ["lr=1", "lr=2"], None, ("lr", "twice", "lr=1", "lr=2")),
    ("mine.py", ["width=2.5"], None, ("width", "2.5", "whole number")),
    ("mine.py", ["width=true"], None, ("width", "true", "whole number")),
    ("mine.py", ["width=null"], None, ("width", "null", "whole number")),
    ("mine.py", ["width=2000"], None, ("mine.py:9", "too wide")),
    ("mine.py", ["tall=2"], None, ("tall", "true or false")),
    ("mine.py", ["tall=maybe"], None, ("tall", "'maybe'", "true or false")),
    ("mine.py", ["kind=gleu"], None, ("kind", "relu, gelu", "did you mean gelu?")),
    ("mine.py", ["sizes=3"], None, ("sizes", "list such as [1, 2]")),
    ("mine.py", ["sizes=[1,a]"], None, ("sizes", "[1, 'a']")),
    ("mine.py", ["depth=none"], None, ("depth", "null")),
    ("mine.py", ["train=5"], None, ("train", "group")),
    ("mine.py", ["train.batch_size=-1"], None, ("train.batch_size", "-1", "at least 1")),
    ("mine.py", ["train.steps=0"], None, ("train.steps", "0", "at least 1")),
    ("mine.py", ["train.precision=fp64"], None, ("train.precision", "fp32, tf32, bf16, fp16")),
    ("mine.py", ["train.precision=float16"], None, ("train.precision", "fp16")),
    ("mine.py", ["train.steps=5", "train.epochs=2"], None, ("train.steps", "train.epochs", "one of them")),
    ("mine.py", ["train.micro_batch_size=9"], None, ("train.micro_batch_size", "train.batch_size, which is 4")),
    ("mine.py", ["train.ema_decay=1"], None, ("train.ema_decay", "below 1")),
    ("mine.py", ["train.device=gpu"], None, ("train.device", "cuda")),
    ("mine.py", ["train.profile_steps=9"], None, ("train.profile_steps", "FROM:TO")),
    ("mine.py", ["train.seed=-1"], None, ("train.seed", "-1")),
    ("mine.py", ["lr=${nothing}"], None, ("lr", "nothing")),
    ("mine.py", [], "lr: 1\nlr: 2\n", ("lr", "run.yaml:2", "twice")),
    ("mine.py", [], "train:\n\tsteps: 3\n", ("run.yaml:2", "tab")),
    ("mine.py", [], "name: no\n", ("name", "false", "quotes", "run.yaml")),
    ("mine.py", [], "name: 12\n", ("name", "12", "quotes")),
    ("mine.py", [], 'lr: "1e-4"\n', ("lr", "without quotes")),
    ("mine.py", [], "train:\n  optimizer:\n    lr: 1\n", ("train.optimizer", "lr, width")),
    ("mine.py", [], "train:\n  stpes: 3\n", ("train.stpes", "did you mean train.steps?", "run.yaml")),
    ("mine.py", [], "train: 3\n", ("train", "group")),
    ("mine.py", [], "- lr\n", ("run.yaml", "list")),
    ("mine.py", [], "just text\n", ("run.yaml", "'just text'")),
    ("mine.py", [], "lr: [1\n", ("run.yaml:",)),
    ("mine.py", [], "lr: {a: 1}\n", ("lr", "group")),
    ("mine.py", [], "1: 2\n", ("1", "run.yaml")),
    ("mine.py", [], "lr: !!python/object/apply:os.system [ls]\n", ("run.yaml:1", "python/object/apply:os.system")),
    ("mine.py", [], "train.steps: 1\ntrain: {steps: 2}\n", ("train.steps", "twice")),
    ("mine.py", [], "train: {steps: 1, epochs: 2}\n", ("train.steps", "train.epochs")),
    ("mine.py:needs", [], None, ("data", "data=VALUE")),
    ("mine.py:not_a_recipe", [], None, ("not_a_recipe()", "int", "Recipe")),
    ("mine.py:forgot", [], None, ("forgot()", "None", "Recipe")),
    ("mine.py:absent", [], None, ("'absent'", "recipe")),
    ("mine.py:RECIPE", [], None, ("'RECIPE'",)),
    ("mine.py:made", [], None, ("made", "list", "function")),
    ("mine.py:positional", [], None, ("lr", "keywords")),
    ("mine.py:starred", [], None, ("*sizes", "keywords")),
    ("mine.py:untyped", [], None, ("lr", "no type")),
    ("mine.py:strange", [], None, ("lr", "dict")),
    ("mine.py:wrong_default", [], None, ("lr", "'high'", "default")),
    ("mine.py:reserved", [], None, ("train",)),
    ("mine.py:no_phases", [], None, ("phases",)),
    ("mine.py:twins", [], None, ("'train'", "unique")),
    ("mine.py:no_data", [], None, ("train_data", "empty")),
    ("mine.py:bad_options", [], None, ("train.batch_size", "'many'", "bad_options")),
    ("mein.py", [], None, ("mein.py", "did you mean mine.py?")),
    ("mine", [], None, ("'mine'", "mine.py")),
    ("digots", [], None, ("'digots'",)),
    ("notes.txt", [], None, ("'notes.txt'",)),
    ("./notes.txt", [], None, ("notes.txt", ".py")),
    (".", [], None, ("'.'",)),
    ("sub/", [], None, ("sub", "folder")),
    ("broken.py", [], None, ("broken.py:2",)),
    ("raises.py", [], None, ("raises.py:1", "ModuleNotFoundError", "no_such_module")),
    ("leaves.py", [], None, ("leaves.py:1", "SystemExit")),
    ("empty.py", [], None, ("empty.py", "'recipe'", "no function")),
]  # fmt: skip


@pytest.mark.parametrize(("recipe", "words", "yaml", "texts"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_gets_one_line(
    folder: Path, recipe: str, words: list[str], yaml: str | None, texts: tuple[str, ...]
) -> None:
    (folder / "sub").mkdir()
    (folder / "notes.txt").write_text("")
    (folder / "broken.py").write_text("x = 1\ndef recipe(:\n")
    (folder / "raises.py").write_text("import no_such_module\n")
    (folder / "leaves.py").write_text("raise SystemExit(3)\n")
    (folder / "empty.py").write_text("")
    with pytest.raises(ConfigError) as caught:
        settle(*words, yaml=yaml, recipe=recipe)
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.exit_code == 2
    assert [text for text in texts if text not in line] == []
    assert len(line) < 260


def test_a_file_that_cannot_be_read(folder: Path) -> None:
    source = find_recipe("mine.py")
    (folder / "latin.yaml").write_bytes(b"name: \xe9\n")
    for name, text in (("absent.yaml", "No such file"), ("sub", "cannot be read"), ("latin.yaml", "UTF-8")):
        (folder / "sub").mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match=text) as caught:
            resolve(source, file=name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def said(call: Callable[[], object]) -> str:
    try:
        call()
    except ConfigError as error:
        return str(error)
    return ""


@given(text=st.text(max_size=40))
def test_no_word_gives_a_traceback(text: str) -> None:
    assert "\n" not in said(lambda: read_words([text], options_settings()))
    assert "\n" not in said(lambda: read_words([f"train.seed={text}"], options_settings()))


@given(value=VALUES)
def test_a_value_fits_or_its_key_is_named(value: Any) -> None:
    for setting in options_settings().values():
        error = said(partial(fitted, setting, value))
        if error:
            assert setting.key in error
            assert "\n" not in error
        else:
            assert fitted(setting, fitted(setting, value)) == fitted(setting, value)
