"""Which names a whole project reads: what none of its files reads has no effect."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

_ROOT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git", "requirements.txt")
_SKIPPED = frozenset({".git", ".venv", "venv", "node_modules", "site-packages", "build", "dist"})
_MAX_FILES = 2_000
_MAX_BYTES = 2**21  # of one file
_MAX_CONFIGURATION = 2**18
# An attribute that is read (not only assigned), a word in quotes that is no option of a parser.
_READ = re.compile(r"\.\s*([A-Za-z_]\w*)\b(?!\s*=[^=])|(?<!dest=)(?<!dest =)(?<!dest = )['\"]([A-Za-z_][\w.]*)['\"]")


def is_read_in_project(path: str, name: str) -> bool | None:
    """Say whether an attribute of that name is read, or the word stands in quotes, in the project that a file is of.

    None if the project is too large to be read; False if there is no such file, as with text from a pipe.
    """
    files = project_files(path)
    return None if files is None else any(name in text and name in read_by(text) for text in map(text_of, files))


@lru_cache(maxsize=4096)
def read_by(text: str) -> frozenset[str]:
    """Return what one program reads: attributes, and words in quotes, parts of dotted ones as well."""
    found = {part for one, other in _READ.findall(text) for part in (one or other).split(".")}
    return frozenset(found)


def attribute_is_read(path: str, name: str, cls: str) -> bool | None:
    """Say whether another file of the project reads an attribute of a class's objects; None if it is too large.

    What other classes read of themselves does not count, unless their file knows the class.
    """
    others = _other_texts(path)
    if others is None:
        return None
    of_self = re.compile(rf"\bself\.{name}\b(?!\s*=[^=])")
    of_any = re.compile(
        rf"(?<!\bself)\.\s*{name}\b(?!\s*=[^=])|(?<!dest=)(?<!dest = )['\"]([\w.]*\.)?{name}(\.[\w.]*)?['\"]"
    )
    return any(
        of_any.search(text) or (cls in text and of_self.search(text)) is not None for text in others if name in text
    )


def setting_is_read(path: str, name: str, cls: str) -> bool | None:
    """Say whether another file of the project reads a setting of a class's objects; None if it is too large.

    What other classes read of themselves counts only in files that mention the class.
    """
    others = _other_texts(path)
    if others is None:
        return None
    of_self = re.compile(rf"\bself\.{name}\b(?!\s*=[^=])")
    of_any = re.compile(rf"(?<!\bself)\.[ \t]*{name}\b(?!\s*=[^=])|['\"]([\w.]*\.)?{name}(\.[\w.]*)?['\"]")
    return any(
        of_any.search(text) is not None or (cls in text and of_self.search(text) is not None)
        for text in others
        if name in text
    )


def _other_texts(path: str) -> list[str] | None:
    """Return the other programs of the project that a file is of; None if there are too many."""
    here = Path(path).resolve()
    if not here.is_file():
        return []
    every = _texts_below(_root(str(here.parent)))
    return None if every is None else [text for at, text in every.items() if at != str(here)]


@lru_cache(maxsize=2)
def _texts_below(root: str) -> dict[str, str] | None:
    paths = _files_below(root)
    return None if paths is None else {str(Path(path).resolve()): text_of(path) for path in paths}


@lru_cache(maxsize=1024)
def _root(folder: str) -> str:
    """Return the outermost folder that looks like a project's, or the file's own."""
    at, found = Path(folder), folder
    for _ in range(8):
        if any((at / mark).exists() for mark in _ROOT_MARKS):
            found = str(at)
        if at.parent == at or (at / ".git").exists():
            break
        at = at.parent
    return found


def project_files(path: str) -> tuple[str, ...] | None:
    """Return the programs of the project that a file is of: the file alone if it is not on disk; None if too many."""
    if not Path(path).is_file():
        return ()
    return _files_below(_root(str(Path(path).resolve().parent)))


@lru_cache(maxsize=256)
def configurations(path: str) -> tuple[str, ...]:
    """Return the YAML and JSON files of the project that a program is of, as far as they are small and not too many."""
    if not Path(path).is_file():
        return ()
    return _configurations_below(_root(str(Path(path).resolve().parent)))


@lru_cache(maxsize=16)
def _configurations_below(root: str) -> tuple[str, ...]:
    found: list[str] = []
    for kind in ("*.yaml", "*.yml", "*.json", "*.toml", "*.sh", "*.md", "*.gin"):
        for at in Path(root).rglob(kind):
            if len(found) < _MAX_FILES and at.is_file() and at.stat().st_size < _MAX_CONFIGURATION:
                found.append(str(at))
    return tuple(found)


@lru_cache(maxsize=2048)
def text_of(path: str) -> str:
    """Return what stands in a file; nothing if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


_CALLED = re.compile(r"(?<!def )\b(\w+)\s*\(")


@lru_cache(maxsize=2048)
def called_in(path: str) -> frozenset[str]:
    """Return the names of what a file calls, and of classes in it, by its text."""
    return frozenset(_CALLED.findall(text_of(path)))


@lru_cache(maxsize=16)
def _files_below(root: str) -> tuple[str, ...] | None:
    """Return the programs of a project; None if there are too many."""
    found: list[str] = []
    for kind in ("*.py", "*.ipynb"):
        for path in Path(root).rglob(kind):
            if _SKIPPED & set(path.relative_to(root).parts):
                continue
            found.append(str(path))
            if len(found) > _MAX_FILES:
                return None
    return tuple(one for one in found if _is_a_program(one))


def _is_a_program(path: str) -> bool:
    try:
        return Path(path).is_file() and Path(path).stat().st_size < _MAX_BYTES
    except OSError:
        return False
