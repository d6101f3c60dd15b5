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
        module.__path__ = []
        sys.modules[name] = module
    if folder and not sys.modules[name].__path__:
        sys.modules[name].__path__ = [str(folder)]
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


def conv_module() -> Any:
    """Return mmcv's ConvModule, as far as backbones use it: convolution, norm and activation."""
    from torch import nn

    convolutions = {"Conv": nn.Conv2d, "Conv2d": nn.Conv2d, "Conv3d": nn.Conv3d}
    norms = {"BN": nn.BatchNorm2d, "BN2d": nn.BatchNorm2d, "BN3d": nn.BatchNorm3d}

    class ConvModule(nn.Module):
        def __init__(
            self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0,
            dilation: Any = 1, groups: int = 1, bias: Any = "auto", conv_cfg: Any = None, norm_cfg: Any = None,
            act_cfg: Any = None,
        ) -> None:  # fmt: skip
            super().__init__()
            kind = convolutions[(conv_cfg or {}).get("type", "Conv")]
            bias = norm_cfg is None if bias == "auto" else bias
            self.conv = kind(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
            self.bn = norms[norm_cfg["type"]](out_channels) if norm_cfg else None
            self.activate = nn.ReLU() if act_cfg else None

        @property
        def norm(self) -> Any:
            return self.bn

        def forward(self, x: Any) -> Any:
            x = self.conv(x)
            x = x if self.bn is None else self.bn(x)
            return x if self.activate is None else self.activate(x)

    return ConvModule
