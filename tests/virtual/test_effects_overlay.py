"""The layer over the file system: behaves like the file system, changes nothing below."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.virtual.effects_files import _file_io, _open, _replacements, _rmtree
from trainworthy.virtual.effects_overlay import Overlay

NAMES = ("a", "b", "d/a", "d/b", "d", "e", "e/x", "d/s", "d/s/t")


class Layer:
    """The replaced functions over one folder, without replacing anything in this process."""

    def __init__(self, scratch: Path) -> None:
        self.notes: list[tuple[str, str]] = []
        self.overlay = Overlay(str(scratch), lambda kind, what: self.notes.append((kind, what)))
        self.functions: dict[str, Callable[..., Any]] = _replacements(self.overlay)
        self.open = _open(self.overlay)
        self.rmtree = _rmtree(self.overlay)


class Plain:
    """The functions as they are."""

    functions: ClassVar = {
        name: getattr(os, name)
        for name in ("mkdir", "rmdir", "remove", "replace", "listdir", "stat", "open", "scandir")
    }
    open = staticmethod(open)
    rmtree = staticmethod(shutil.rmtree)


def populate(folder: Path) -> None:
    (folder / "d" / "s").mkdir(parents=True)
    (folder / "a").write_text("A")
    (folder / "d" / "b").write_text("DB")
    (folder / "d" / "s" / "t").write_text("DST")


def apply(system: Any, root: Path, action: tuple[str, str, str]) -> str:
    """Do one thing and return what came of it: a value, or the class of the error."""
    verb, one, two = action
    path, other = str(root / one), str(root / two)
    try:
        return str(_do(system, verb, path, other))
    except OSError as error:
        return type(error).__name__


def _do(system: Any, verb: str, path: str, other: str) -> Any:
    if verb in {"w", "a", "x", "r+"}:
        with system.open(path, verb) as file:
            return file.write(verb)
    if verb == "read":
        with system.open(path) as file:
            return file.read()
    if verb == "list":
        return sorted(system.functions["listdir"](path))
    if verb == "scan":
        with system.functions["scandir"](path) as entries:
            return sorted((e.name, e.is_dir(), e.is_file()) for e in entries)
    if verb == "rmtree":
        return system.rmtree(path)
    if verb == "replace":
        return system.functions["replace"](path, other)
    if verb == "exists":
        return system.functions["stat"](path).st_mode & 0o170000
    return system.functions[verb](path)


ACTIONS = st.tuples(
    st.sampled_from(["w", "a", "x", "r+", "read", "list", "scan", "mkdir", "rmdir", "remove", "rmtree", "exists"]),
    st.sampled_from(NAMES),
    st.just(""),
)
MOVES = st.tuples(
    st.just("replace"), st.sampled_from(("a", "b", "d/a", "d/b")), st.sampled_from(("a", "b", "d/a", "d/b"))
)


def tree(system: Any, root: Path, at: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name in sorted(system.functions["listdir"](str(root / at))):
        path = f"{at}/{name}".lstrip("/")
        content = apply(system, root, ("read", path, ""))
        found[path] = content
        if content == "IsADirectoryError":
            found.update(tree(system, root, path))
    return found


@given(st.lists(st.one_of(ACTIONS, MOVES), max_size=12))
@settings(deadline=None, max_examples=150)
def test_layer_is_a_file_system(actions: list[tuple[str, str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder).resolve()
        user, twin, scratch = base / "user", base / "twin", base / "scratch"
        for each in (user, twin, scratch):
            each.mkdir()
        populate(user)
        populate(twin)
        before = tree(Plain, user)
        layer = Layer(scratch)
        for action in actions:
            assert apply(layer, user, action) == apply(Plain, twin, action), action
        assert tree(layer, user) == tree(Plain, twin)
        assert tree(Plain, user) == before


def test_what_the_script_wrote_is_listed_once(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "scratch")
    for _ in range(3):
        with layer.open(tmp_path / "new.txt", "w") as file:
            file.write("x")
    assert not (tmp_path / "new.txt").exists()
    assert {kind for kind, _ in layer.notes} == {"write"}


def test_writing_into_a_folder_that_is_not_there_fails(tmp_path: Path) -> None:
    layer = Layer(tmp_path / "scratch")
    with pytest.raises(FileNotFoundError):
        layer.open(tmp_path / "no" / "new.txt", "w")


def test_file_io_goes_through_the_layer(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    populate(home)
    layer = Layer(tmp_path / "scratch")
    file_io = _file_io(layer.overlay)
    with file_io(home / "a", "w") as file:
        file.write(b"changed")
    with file_io(str(home / "a")) as file:
        assert file.read() == b"changed"
    assert (home / "a").read_text() == "A"
    with pytest.raises(FileExistsError):
        file_io(home / "d" / "b", "x")
    with (home / "a").open("rb", buffering=0) as plain:
        assert isinstance(plain, file_io)
