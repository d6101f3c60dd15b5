"""One instance that fills a whole list of layers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import CodeType
from typing import NamedTuple

from torch import nn


class Repeated(NamedTuple):
    """A container whose entries are all the same module, which has parameters."""

    path: str
    container: str
    class_name: str
    times: int
    parameters: int
    parent: nn.Module


def repeated_instances(model: nn.Module) -> Iterator[Repeated]:
    """Yield the lists of ``model`` that are filled with one instance."""
    for path, module in model.named_modules():
        if not isinstance(module, (nn.ModuleList, nn.Sequential)) or len(module._modules) < 2:
            continue
        parts = list(module._modules.values())
        first = parts[0]
        if first is None or any(part is not first for part in parts):
            continue
        size = sum(parameter.numel() for parameter in first.parameters())
        if size:
            parent = model.get_submodule(path.rpartition(".")[0])
            yield Repeated(path, type(module).__name__, type(first).__name__, len(parts), size, parent)


def made_at(parent: nn.Module, container: str, is_user: Callable[[CodeType], bool]) -> tuple[str, int] | None:
    """Return file and line of the parent's constructor that makes the container; None if it is not the user's."""
    code = getattr(type(parent).__init__, "__code__", None)
    try:
        lines, start = inspect.getsourcelines(code)  # type: ignore[arg-type]
    except (OSError, TypeError):
        return None
    if code is None or not is_user(code):
        return None
    found = [start + i for i, line in enumerate(lines) if container in line]
    return code.co_filename, found[0] if len(found) == 1 else start
