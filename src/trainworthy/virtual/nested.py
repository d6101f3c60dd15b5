"""Tensors inside tuples, lists, dicts and objects that act as dicts, as data loaders give them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch


def tensors_of(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors inside, in the order in which ``with_tensors`` replaces them."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from tensors_of(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_of(each)


def with_tensors(value: Any, replace: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Return the same structure with every tensor replaced; what holds none is returned as it is."""
    if isinstance(value, torch.Tensor):
        return replace(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(with_tensors(each, replace) for each in value))
    if isinstance(value, (list, tuple)):
        return type(value)(with_tensors(each, replace) for each in value)
    if isinstance(value, Mapping):
        changed = copy.copy(value)
        for key in list(value):
            changed[key] = with_tensors(value[key], replace)  # type: ignore[index]
        return changed
    return value
