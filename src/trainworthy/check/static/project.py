"""Which file an import means: the modules of one project, read when first needed."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from trainworthy.check.static.source import Source, UnreadableError, read_source

_ROOT_MARKS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
_MAX_MODULES = 400  # kept at once; more than one file's imports need


class Project:
    """Finds the project's modules, and keeps those that were asked for last."""

    def __init__(self) -> None:
        self._sources: dict[str, Source | None] = {}  # the one asked for last stands last

    def add(self, source: Source) -> None:
        """Keep a file that was read already."""
        self._keep(_key(source.path), source)

    def known(self, path: str) -> Source | None:
        """Return a file that was read under this very path; None if it was not, or cannot be read."""
        source = self._sources.get(_key(path))
        return source if source is not None and source.path == path else None

    def find(self, name: str, *, importer: str, level: int = 0) -> Source | None:
        """Return the module that ``import name`` in ``importer`` means; None if it is not of the project."""
        if importer.startswith("<") or (not name and level == 0):
            return None
        path = _find_file(name, _folder_of(importer), level)
        return None if path is None else self._read(path)

    def _read(self, path: str) -> Source | None:
        key = _key(path)
        if key in self._sources:
            source = self._sources.pop(key)
        else:
            try:
                source = read_source(path)
            except UnreadableError:
                source = None
        self._keep(key, source)
        return source

    def _keep(self, key: str, source: Source | None) -> None:
        """Keep a module as the one that was needed last, and let go of what has not been for the longest."""
        self._sources.pop(key, None)
        self._sources[key] = source
        if len(self._sources) > _MAX_MODULES:
            del self._sources[next(iter(self._sources))]


@lru_cache(maxsize=16384)
def _key(path: str) -> str:
    return os.path.realpath(path)


@lru_cache(maxsize=4096)
def _folder_of(path: str) -> str:
    return str(Path(path).parent)


@lru_cache(maxsize=16384)
def _find_file(name: str, folder: str, level: int) -> str | None:
    parts = name.split(".") if name else []
    if level:
        start = Path(folder)
        for _ in range(level - 1):
            start = start.parent
        return _module_file(str(start), parts)
    for root in _roots(folder):
        found = _module_file(root, parts)
        if found is not None:
            return found
    return None


def _module_file(root: str, parts: list[str]) -> str | None:
    if parts and _names_in(root).isdisjoint((parts[0], f"{parts[0]}.py")):
        return None  # of a library, as most: not looked for any further
    whole = Path(root, *parts)
    if parts:
        file = whole.with_name(f"{whole.name}.py")
        if file.is_file():
            return str(file)
    package = whole / "__init__.py"
    return str(package) if package.is_file() else None


@lru_cache(maxsize=4096)
def _names_in(folder: str) -> frozenset[str]:
    try:
        return frozenset(one.name for one in Path(folder).iterdir())
    except OSError:
        return frozenset()


@lru_cache(maxsize=4096)
def _roots(folder: str) -> tuple[str, ...]:
    """Return the folders that imports may start from: upwards to the project's root, and ``src`` there."""
    found = []
    at = Path(folder)
    for _ in range(12):
        found.append(str(at))
        if any((at / mark).exists() for mark in _ROOT_MARKS):
            if (at / "src").is_dir():
                found.append(str(at / "src"))
            break
        if at.parent == at:
            break
        at = at.parent
    return tuple(found)
