"""Do something to a module as soon as the script imports it; find modules that the script wrote itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

Action = Callable[[Any], None]


class _Watcher:
    """A finder at the front of ``sys.meta_path`` that lets the others find and then adds actions."""

    def __init__(self) -> None:
        self.actions: dict[str, list[Action]] = {}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in self.actions:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None and hasattr(spec.loader, "exec_module"):
                    self._wrap(spec.loader, name)
                return spec
        return None

    def _wrap(self, loader: Any, name: str) -> None:
        exec_module = loader.exec_module

        def exec_and_act(module: ModuleType) -> None:
            exec_module(module)
            for action in self.actions.pop(name, ()):
                action(module)

        loader.exec_module = exec_and_act


_WATCHER = _Watcher()


def when_imported(name: str, action: Action) -> None:
    """Call ``action(module)`` now if ``name`` is imported, else right after it has been."""
    module = sys.modules.get(name)
    if module is not None:
        action(module)
        return
    if _WATCHER not in sys.meta_path:
        sys.meta_path.insert(0, _WATCHER)
    _WATCHER.actions.setdefault(name, []).append(action)


class WrittenModules:
    """A finder, after all others, of modules that the script wrote: ``mirror`` says where a folder's changes lie."""

    def __init__(self, mirror: Callable[[str], str], is_dir: Callable[[str], bool]) -> None:
        self.mirror, self.is_dir = mirror, is_dir

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Look where the changes of the folders lie, in which a module of this name would be."""
        mirrored = (self.mirror(folder) for folder in (sys.path if path is None else path))
        folders = [folder for folder in mirrored if self.is_dir(folder)]
        if not folders:
            return None
        PathFinder.invalidate_caches()
        return PathFinder.find_spec(name, folders, target)
