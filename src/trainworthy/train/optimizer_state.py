"""An optimizer's state by the names of parameters, so that it fits a run with other shards or another order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from trainworthy.errors import UsageError

# What DDP, torch.compile and checkpoint_wrapper put into names.
_WRAPPERS = ("module.", "_orig_mod.", "_checkpoint_wrapped_module.")


def plain_name(name: str) -> str:
    """Return a parameter's name as the user's model has it, without what wrappers put in."""
    name = name.removeprefix("module.")
    for part in _WRAPPERS[1:]:
        name = name.replace(part, "")
    return name


def by_name(optimizer: torch.optim.Optimizer, parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[str, Any]:
    """Return the optimizer's state with names in place of numbers.

    Args:
        optimizer: Any optimizer of torch, or one that keeps its state as torch's do.
        parameters: The model's parameters with their names; wrappers' parts of names are taken out.

    Raises:
        UsageError: The optimizer has a parameter that the model has not.
    """
    numbers = _numbers(optimizer, parameters)
    packed = optimizer.state_dict()
    return {
        "state": {numbers[key]: dict(value) for key, value in packed["state"].items()},
        "groups": [{**group, "params": [numbers[key] for key in group["params"]]} for group in packed["param_groups"]],
    }


def load_by_name(
    optimizer: torch.optim.Optimizer, state: dict[str, Any], parameters: Iterable[tuple[str, nn.Parameter]]
) -> None:
    """Load a state that :func:`by_name` returned.

    Raises:
        UsageError: The optimizer's groups hold other parameters than those in the state.
    """
    numbers = _numbers(optimizer, parameters)
    names = {name: key for key, name in numbers.items()}
    packed = optimizer.state_dict()
    mine = [sorted(numbers[key] for key in group["params"]) for group in packed["param_groups"]]
    saved = [sorted(group["params"]) for group in state["groups"]]
    if mine != saved:
        different = sorted({name for group in mine for name in group} ^ {name for group in saved for name in group})
        what = ", ".join(different[:5]) or "the same parameters in other groups"
        raise UsageError(
            f"The optimizer of the checkpoint holds other parameters than this one: {what}.",
            fix="Resume with the recipe that wrote the checkpoint, or start anew in another folder.",
        )
    groups = []
    for group, saved_group in zip(packed["param_groups"], state["groups"], strict=True):
        groups.append({**group, **saved_group, "params": group["params"]})
    optimizer.load_state_dict(
        {"state": {names[name]: value for name, value in state["state"].items()}, "param_groups": groups}
    )


def _numbers(optimizer: torch.optim.Optimizer, parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[int, str]:
    names = {id(parameter): plain_name(name) for name, parameter in parameters}
    packed = optimizer.state_dict()["param_groups"]
    numbers = {}
    for group, packed_group in zip(optimizer.param_groups, packed, strict=True):
        for parameter, key in zip(group["params"], packed_group["params"], strict=True):
            if id(parameter) not in names:
                raise UsageError(f"The optimizer holds a parameter of shape {tuple(parameter.shape)} not in the model.")
            numbers[key] = names[id(parameter)]
    return numbers
