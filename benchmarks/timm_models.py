"""timm's models without torchvision, PIL or weights: what a benchmark needs of timm, and nothing that reads images."""

from __future__ import annotations

import importlib.util
import sys
import types
from importlib.machinery import ModuleSpec
from typing import Any

_STUBBED = ("torchvision", "PIL")


class _Stub(types.ModuleType):
    """A module that has every name; none of them does anything."""

    __version__ = "11.0.0"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class _Finder:
    """Find the stubbed packages, and every module in them."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        del path, target
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in _STUBBED else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        module = _Stub(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        del module


def import_timm() -> Any:
    """Import timm; ``timm.data`` is reduced to its constants, since models need no more of it."""
    if "timm" not in sys.modules:
        sys.meta_path.insert(0, _Finder())
        spec = importlib.util.find_spec("timm")
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError("timm is not installed: pip install --no-deps timm")
        folder = f"{spec.submodule_search_locations[0]}/data"
        data = _Stub("timm.data")
        data.__path__ = [folder]
        constants = importlib.util.spec_from_file_location("timm.data.constants", f"{folder}/constants.py")
        assert constants is not None
        assert constants.loader is not None
        module = importlib.util.module_from_spec(constants)
        constants.loader.exec_module(module)
        data.__dict__.update({k: v for k, v in vars(module).items() if k.isupper()})
        sys.modules["timm.data"], sys.modules["timm.data.constants"] = data, module
    import timm

    return timm


# The tables are older than the names of today: what was renamed, as timm's own registry of deprecated names says,
# and the pretrained tag does not matter, since no weights are read.
def create(name: str, **options: Any) -> Any:
    """Build a model by the name that a table has for it."""
    return import_timm().create_model(name, pretrained=False, **options)
