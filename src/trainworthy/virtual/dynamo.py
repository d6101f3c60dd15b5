"""Keep ``torch._dynamo`` from being imported by code that only wants to be left alone by it.

Many functions of torch (optimizers, checkpointing, the Python meta kernels) are wrapped so that
dynamo skips them; the first call of one imports dynamo, which takes longer than a whole rehearsal.
A small module stands in for it and answers those calls; whatever else is asked of it imports the
real one, which then takes its place.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

_NAME = "torch._dynamo"


class StandIn(ModuleType):
    """Answers what eager code asks of dynamo; becomes the real module when more is asked."""

    def graph_break(self, msg: str = "") -> None:
        """Do nothing: nothing is being compiled (``Optimizer.step`` calls this)."""

    def is_compiling(self) -> bool:
        """Return False: a rehearsal runs eagerly."""
        return False

    def disable(self, fn: Any = None, recursive: bool = True, **options: Any) -> Any:
        """Return the function as it is; there is nothing to disable."""
        return fn if fn is not None else _unchanged

    def allow_in_graph(self, fn: Any) -> Any:
        """Return the function as it is."""
        return fn

    def mark_static_address(self, tensor: Any, guard: bool = True) -> None:
        """Do nothing: a hint for the compiler."""

    def reset(self) -> None:
        """Do nothing: nothing was compiled."""

    def __getattr__(self, name: str) -> Any:
        if name in {"__spec__", "__file__", "__loader__", "__wrapped__"}:
            raise AttributeError(name)
        return getattr(_load_real(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_load_real(self), name, value)


def _unchanged(fn: Callable[..., Any]) -> Callable[..., Any]:
    return fn


def _load_real(stand_in: StandIn) -> ModuleType:
    if sys.modules.get(_NAME) is stand_in:
        del sys.modules[_NAME]
        vars(torch).pop("_dynamo", None)
    try:
        return importlib.import_module(_NAME)
    except AttributeError as error:
        # Python would take it for an attribute that the stand-in lacks: "'torch._dynamo' is not a package".
        raise ImportError(f"torch._dynamo cannot be imported here: {error}", name=_NAME) from error


@contextmanager
def dynamo_put_off() -> Iterator[None]:
    """Let the stand-in answer while the context is open, unless dynamo is imported already."""
    if _NAME in sys.modules:
        yield
        return
    stand_in = StandIn(_NAME)
    sys.modules[_NAME] = stand_in
    torch._dynamo = stand_in
    try:
        yield
    finally:
        if sys.modules.get(_NAME) is stand_in:
            del sys.modules[_NAME]
            vars(torch).pop("_dynamo", None)
