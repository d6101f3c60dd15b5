"""Which names a whole project reads: what none of its files reads has no effect."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_ROOT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git", "requirements.txt")
_SKIPPED = frozenset({".git", ".venv", "venv", "node_modules", "site-packages", "build", "dist"})
_MAX_FILES = 2_000
_MAX_BYTES = 2**21  # of one file
# An attribute that is read (not only assigned), a word in quotes that is no option of a parser.
_READ = re.compile(r"\.\s*([A-Za-z_]\w*)\b(?!\s*=[^=])|(?<!dest=)(?<!dest =)(?<!dest = )['\"]([A-Za-z_][\w.]*)['\"]")

_OWN = re.compile(r"\bself\.([A-Za-z_]\w*)\b(?!\s*=[^=])")
_OTHERS = re.compile(
    r"(?<!\bself)\.\s*([A-Za-z_]\w*)\b(?!\s*=[^=])|(?<!dest=)(?<!dest =)(?<!dest = )['\"]([A-Za-z_][\w.]*)['\"]"
)
_CLASS = re.compile(r"\b[A-Z]\w+\b")
_BASES = re.compile(r"^\s*class\s+\w+\s*\(([^)]*)\)", re.MULTILINE)
_BOUND = re.compile(r"(?<!\bself)\.([A-Za-z_]\w*)\s*(?::[^=\n]{1,60})?=[^=]")
_BY_TEXT = re.compile(r"(?:setattr|register_\w+|add_module)\([^,'\"]*,?\s*['\"]([A-Za-z_]\w*)['\"]")


def read_in_project(path: str) -> frozenset[str] | None:
    """Return every attribute that is read, and every word that stands in quotes, in the project that a file is of.

    None if the project is too large to be read; nothing if there is no such file, as with text from a pipe.
    """
    if not Path(path).is_file():
        return frozenset()
    return _read_below(_root(str(Path(path).resolve().parent)))


@lru_cache(maxsize=4096)
def read_by(text: str) -> frozenset[str]:
    """Return what one program reads: attributes, and words in quotes, parts of dotted ones as well."""
    found = {part for one, other in _READ.findall(text) for part in (one or other).split(".")}
    return frozenset(found)


def attribute_is_read(path: str, name: str, cls: str) -> bool | None:
    """Say whether another file of the project reads an attribute of a class's objects; None if it is too large.

    What other classes read of themselves does not count, unless their file knows the class.
    """
    if not Path(path).is_file():
        return False
    here = Path(path).resolve()
    every = _attributes_below(_root(str(here.parent)))
    if every is None:
        return None
    return any(
        name in one.others or (name in one.own and cls in one.words) for at, one in every.items() if at != str(here)
    )


def may_be_set_elsewhere(path: str, name: str, classes: set[str]) -> bool:
    """Say whether another file may give the objects of a class an attribute: on an object, by text, in a subclass."""
    here = Path(path).resolve()
    every = _attributes_below(_root(str(here.parent))) if here.is_file() else {}
    if every is None:
        return True
    return any(name in one.set or classes & one.bases for at, one in every.items() if at != str(here))


@dataclass(frozen=True, slots=True)
class _Attributes:
    """What one file says of attributes.

    Attributes:
        own: Those of ``self`` that are read.
        others: Those of anything else that are read, and words in quotes.
        set: Those of anything else that are set, and those that are set by text.
        words: The names of classes.
        bases: The names of classes from which others descend.
    """

    own: frozenset[str]
    others: frozenset[str]
    set: frozenset[str]
    words: frozenset[str]
    bases: frozenset[str]


@lru_cache(maxsize=16)
def _attributes_below(root: str) -> dict[str, _Attributes] | None:
    paths = _files_below(root)
    return None if paths is None else {str(path.resolve()): _attributes(_text(path)) for path in paths}


def _attributes(text: str) -> _Attributes:
    own = frozenset(_OWN.findall(text))
    others = {part for one, other in _OTHERS.findall(text) for part in (one or other).split(".")}
    bound = frozenset(_BOUND.findall(text)) | frozenset(_BY_TEXT.findall(text))
    bases = frozenset(name for bases in _BASES.findall(text) for name in _CLASS.findall(bases))
    return _Attributes(own, frozenset(others), bound, frozenset(_CLASS.findall(text)), bases)


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


@lru_cache(maxsize=16)
def _read_below(root: str) -> frozenset[str] | None:
    paths = _files_below(root)
    return None if paths is None else frozenset(name for path in paths for name in read_by(_text(path)))


def _files_below(root: str) -> list[Path] | None:
    """Return the programs of a project; None if there are too many."""
    paths = [
        path
        for kind in ("*.py", "*.ipynb")
        for path in Path(root).rglob(kind)
        if not _SKIPPED & set(path.relative_to(root).parts)
    ]
    return None if len(paths) > _MAX_FILES else paths


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace") if path.stat().st_size < _MAX_BYTES else ""
    except OSError:
        return ""
