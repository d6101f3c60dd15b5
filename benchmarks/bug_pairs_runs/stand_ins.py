"""What programs share: a project's file without its package, and stand-ins for packages that are not installed.

It is copied beside each program.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def load(path: str, name: str = "") -> Any:
    """Import one file of the project by its path; its package's ``__init__`` does not run."""
    name = name or path.removesuffix(".py").replace("/", ".")
    packages = name.split(".")[:-1]
    for depth in range(1, len(packages) + 1):
        package(".".join(packages[:depth]), HERE / "/".join(path.split("/")[:depth]))
    spec = importlib.util.spec_from_file_location(name, HERE / path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def package(name: str, folder: Path | None = None) -> Any:
    """Make a package without running its ``__init__``; modules in it are found as usual."""
    if name not in sys.modules:
        module = types.ModuleType(name)
        module.__path__ = [str(folder)] if folder else []
        sys.modules[name] = module
    return sys.modules[name]


def stand_in(name: str, **values: Any) -> Any:
    """Put a module that has the given names, and for all others an empty class, in place of one that is missing."""
    packages = name.split(".")
    for depth in range(1, len(packages)):
        package(".".join(packages[:depth]))
    module = _Missing(name)
    module.__path__ = []
    vars(module).update(values)
    sys.modules[name] = module
    if len(packages) > 1:
        setattr(sys.modules[".".join(packages[:-1])], packages[-1], module)
    return module


class _Missing(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (), {"__init__": lambda self, *args, **kwargs: None})
        setattr(self, name, made)
        return made
