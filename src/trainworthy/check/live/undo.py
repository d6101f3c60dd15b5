"""Puts models, optimizers and other things back as they were, in place: parameters keep their identity."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class Snapshot:
    """The state of everything that was kept, at one moment.

    ``tensors`` and ``values`` are by a name that can be shown: ``model.layer.weight``, ``SGD state of ...``.
    """

    def __init__(self, kept: Kept) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.values: dict[str, Any] = {}
        for name, model in kept.models.items():
            for path, tensor, _ in tensors_of_module(model):
                self.tensors[f"{name}.{path}"] = tensor.detach().clone()
            self.values.update(plain_values(name, model))
            self.values.update({f"{name}.{path}.training": m.training for path, m in model.named_modules()})
        for name, optimizer in kept.optimizers.items():
            self.values[name] = copy.deepcopy(optimizer_state(optimizer))
            self.tensors.update((at, p.detach().clone()) for at, p in kept.loose_parameters(name, optimizer))
        for name, other in kept.others.items():
            self.values[name] = copy.deepcopy(other.state_dict())
        self.random = random_state()


class Kept:
    """What is put back: models and optimizers as they are met, and other objects that have ``state_dict``."""

    def __init__(self, others: dict[str, Any] | None = None) -> None:
        self.models: dict[str, nn.Module] = {}
        self.optimizers: dict[str, Optimizer] = {}
        self.others: dict[str, Any] = {}
        self.first: dict[str, Snapshot] = {}
        for name, one in (others or {}).items():
            self.meet(one, name)

    def meet(self, one: Any, name: str | None = None) -> None:
        """Keep a thing from now on, if it is not kept yet; a part of a kept model is kept already."""
        if isinstance(one, nn.Module):
            if not any(one is part for model in self.models.values() for part in model.modules()):
                self._add(self.models, one, name)
        elif isinstance(one, Optimizer):
            if not any(one is known for known in self.optimizers.values()):
                self._add(self.optimizers, one, name)
        elif all(one is not known for known in self.others.values()):
            self._add(self.others, one, name)

    def _add(self, home: dict[str, Any], one: Any, name: str | None) -> None:
        base = name or type(one).__name__
        unique = base if base not in self.first else f"{base}#{len(self.first)}"
        home[unique] = one
        alone = Kept()
        (alone.models if home is self.models else alone.optimizers if home is self.optimizers else alone.others)[
            unique
        ] = one
        self.first[unique] = Snapshot(alone)

    def loose_parameters(self, name: str, optimizer: Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield what an optimizer moves and no model holds, such as the temperature of an actor."""
        held = {id(p) for model in self.models.values() for p in model.parameters()}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        yield from ((f"{name}.parameter {i}", p) for i, p in enumerate(parameters) if id(p) not in held)

    def now(self) -> Snapshot:
        """Return the state of everything as it is."""
        return Snapshot(self)

    def beginning(self) -> Snapshot:
        """Return the state of everything as it was when it was met."""
        whole = Snapshot(Kept())
        for one in self.first.values():
            whole.tensors.update(one.tensors)
            whole.values.update(one.values)
        return whole

    def back_to(self, snapshot: Snapshot) -> None:
        """Put everything back as it was at a moment; gradients are dropped."""
        with torch.no_grad():
            for name, model in self.models.items():
                for path, tensor, _ in list(tensors_of_module(model)):
                    saved = snapshot.tensors.get(f"{name}.{path}")
                    if saved is not None and saved.shape == tensor.shape:
                        tensor.detach().copy_(saved)
                    elif saved is not None:
                        tensor.data = saved.clone()
                for parameter in model.parameters():
                    parameter.grad = None
                put_values(name, model, snapshot.values)
        for name, optimizer in self.optimizers.items():
            with torch.no_grad():
                for at, loose in self.loose_parameters(name, optimizer):
                    loose.grad = None
                    if at in snapshot.tensors:
                        loose.copy_(snapshot.tensors[at])
            if name in snapshot.values:  # else it was made by the step itself, later
                put_optimizer(optimizer, copy.deepcopy(snapshot.values[name]))
        for name, other in self.others.items():
            other.load_state_dict(copy.deepcopy(snapshot.values[name]))
        put_random(snapshot.random)


def tensors_of_module(model: nn.Module) -> Iterator[tuple[str, torch.Tensor, bool]]:
    """Yield parameters, buffers and tensors in plain attributes by path, and whether a checkpoint holds them."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for name, parameter in module._parameters.items():
            if parameter is not None:
                yield prefix + name, parameter, True
        for name, buffer in module._buffers.items():
            if buffer is not None:
                yield prefix + name, buffer, name not in module._non_persistent_buffers_set
        for name, value in module.__dict__.items():
            if isinstance(value, torch.Tensor):
                yield prefix + name, value, False


def plain_values(name: str, model: nn.Module) -> dict[str, Any]:
    """Return the numbers in plain attributes of a model's own parts, by path; those of torch's layers are settings."""
    return {
        f"{name}.{path}.{key}" if path else f"{name}.{key}": value
        for path, module in model.named_modules() if not type(module).__module__.startswith("torch.nn.")
        for key, value in module.__dict__.items() if _is_plain(key, value)
    }  # fmt: skip


def put_values(name: str, model: nn.Module, values: dict[str, Any]) -> None:
    """Put numbers and modes back."""
    for path, module in model.named_modules():
        here = f"{name}.{path}" if path else name
        module.training = values.get(f"{name}.{path}.training", module.training)
        for key, value in list(module.__dict__.items()):
            if _is_plain(key, value):
                module.__dict__[key] = values.get(f"{here}.{key}", value)


def _is_plain(key: str, value: Any) -> bool:
    return key != "training" and type(value) in (int, float, bool, str)


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer by number of the parameter, and the options of its groups."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    return {
        "state": {i: optimizer.state[p] for i, p in enumerate(parameters) if p in optimizer.state},
        "groups": [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups],
    }


def put_optimizer(optimizer: Optimizer, saved: dict[str, Any]) -> None:
    """Put an optimizer back."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    optimizer.state.clear()
    for number, state in saved["state"].items():
        optimizer.state[parameters[number]] = state
    for group, options in zip(optimizer.param_groups, saved["groups"], strict=True):
        group.update(options)


def random_state() -> dict[str, Any]:
    """Return the state of the random generators of Python, NumPy and torch."""
    numpy = sys.modules.get("numpy")
    return {
        "python": random.getstate(), "torch": torch.get_rng_state(),
        "numpy": numpy.random.get_state() if numpy is not None else None,
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None,
    }  # fmt: skip


def put_random(state: dict[str, Any]) -> None:
    """Put the random generators back."""
    random.setstate(state["python"])
    torch.set_rng_state(state["torch"])
    numpy = sys.modules.get("numpy")
    if numpy is not None and state["numpy"] is not None:
        numpy.random.set_state(state["numpy"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state_all(state["cuda"])
