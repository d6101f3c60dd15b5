"""The state of a run as tensors with names and a tree of plain data, and back: no pickle, every number exact.

A state is nested ``dict``, ``list`` and ``tuple`` of tensors, numbers, strings, booleans and None. The tree is JSON:
``{"$tensor": name}`` stands for a tensor, ``{"$tuple": [...]}`` for a tuple, and ``{"$map": [[key, value], ...]}`` for
a dict whose keys are not all strings (or whose keys begin with ``$``). Floats survive because JSON's decimals are
written with ``repr``, which Python reads back to the same bits; NaN and infinities have their names.

The name of a tensor is its path joined with ``/``, so a weight's name keeps its dots.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from trainworthy.errors import UsageError

Tree = Any  # what json.dumps takes
State = Any


def pack(state: State) -> tuple[dict[str, torch.Tensor], Tree]:
    """Return a state's tensors by name, and the tree that says where they belong.

    A tensor that occurs twice (tied weights) is kept once.

    Raises:
        UsageError: Something is neither a tensor nor plain data; the message names its place.
    """
    tensors: dict[str, torch.Tensor] = {}
    seen: dict[Any, str] = {}

    def walk(value: State, path: tuple[str, ...]) -> Tree:
        if isinstance(value, torch.Tensor):
            return {"$tensor": _keep(value, "/".join(path), tensors, seen)}
        if value is None or type(value) in {bool, int, float, str}:
            return value
        if isinstance(value, Mapping):
            if all(type(key) is str and not key.startswith("$") for key in value):
                return {key: walk(item, (*path, key)) for key, item in value.items()}
            return {"$map": [[walk(key, path), walk(item, (*path, str(key)))] for key, item in value.items()]}
        if isinstance(value, tuple | list):
            items = [walk(item, (*path, str(place))) for place, item in enumerate(value)]
            return {"$tuple": items} if isinstance(value, tuple) else items
        if isinstance(value, int | float | str):  # of a subclass: numpy.float64, an enum of strings
            return walk(_plain(value), path)
        raise UsageError(
            f"A checkpoint cannot hold a {type(value).__module__}.{type(value).__qualname__}.",
            where="/".join(path),
            fix="Let state_dict() return tensors, numbers, strings, lists and dicts; code is never pickled.",
        )

    return tensors, walk(state, ())


def _keep(value: torch.Tensor, name: str, tensors: dict[str, torch.Tensor], seen: dict[Any, str]) -> str:
    tensor = value.detach()
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    same = (local.device, local.data_ptr(), local.dtype, local.shape, local.stride())
    if local.numel() and same in seen:
        return seen[same]
    seen[same] = name
    tensors[name] = tensor
    return name


def _plain(value: float | str) -> float | str:
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str.__str__(value)  # an enum's own would say its name


def unpack(tree: Tree, tensor: Callable[[str], torch.Tensor]) -> State:
    """Return the state that :func:`pack` took apart; ``tensor`` returns a tensor by its name."""
    if isinstance(tree, list):
        return [unpack(item, tensor) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if len(tree) == 1:
        ((key, value),) = tree.items()
        if key == "$tensor":
            return tensor(value)
        if key == "$tuple":
            return tuple(unpack(item, tensor) for item in value)
        if key == "$map":
            return {unpack(key, tensor): unpack(item, tensor) for key, item in value}
    return {key: unpack(item, tensor) for key, item in tree.items()}
