"""Names of modules and parameters, as the user's model has them."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import nn

_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")


class Names:
    """Remembers models (modules that no other module called) and how their parts are called."""

    def __init__(self) -> None:
        self.models: dict[int, weakref.ref[nn.Module]] = {}
        self._modules: dict[int, tuple[weakref.ref[nn.Module], str]] = {}
        self.called: set[int] = set()  # identities of modules whose forward ran
        self._owners: dict[int, weakref.ref[nn.Module]] = {}
        self._parameters: dict[int, tuple[weakref.ref[torch.Tensor], str]] = {}

    def learn(self, model: nn.Module) -> None:
        """Take the names below ``model``; a part of a model that is known already keeps its longer name."""
        if self.is_known(model):
            return
        self.models[id(model)] = weakref.ref(model)
        for path, module in model.named_modules():
            if not self.is_part(module):
                self._modules[id(module)] = (weakref.ref(module), _clean(path))
        for module in model.modules():
            for parameter in module._parameters.values():
                if parameter is not None:
                    self._owners.setdefault(id(parameter), weakref.ref(module))
        for path, parameter in model.named_parameters(remove_duplicate=True):
            known = self._parameters.get(id(parameter))
            if known is None or known[0]() is not parameter or len(known[1]) < len(_clean(path)):
                self._parameters[id(parameter)] = (weakref.ref(parameter), _clean(path))

    def is_known(self, model: nn.Module) -> bool:
        """Tell whether a model was seen before."""
        ref = self.models.get(id(model))
        return ref is not None and ref() is model

    def is_part(self, module: nn.Module) -> bool:
        """Tell whether a module belongs to a model that is known."""
        known = self._modules.get(id(module))
        return known is not None and known[0]() is module

    def module(self, module: nn.Module) -> str:
        """Name a module: its path, or its class."""
        known = self._modules.get(id(module))
        if known is not None and known[0]() is module and known[1]:
            return known[1]
        return type(module).__name__

    def parameter(self, parameter: Any) -> str:
        """Name a parameter: its path, or its shape."""
        known = self._parameters.get(id(parameter))
        if known is not None and known[0]() is parameter:
            return known[1]
        return f"a parameter of shape {tuple(parameter.shape)}"

    def is_registered(self, parameter: torch.Tensor) -> bool:
        """Tell whether a parameter belongs to a model that is known."""
        known = self._parameters.get(id(parameter))
        return known is not None and known[0]() is parameter

    def owner(self, parameter: torch.Tensor) -> nn.Module | None:
        """Return the module that holds a parameter, if it is known."""
        ref = self._owners.get(id(parameter))
        return ref() if ref is not None else None

    def owner_ran(self, parameter: torch.Tensor) -> bool:
        """Tell whether the module that holds a parameter was called."""
        owner = self.owner(parameter)
        return owner is not None and id(owner) in self.called

    def alive(self) -> list[nn.Module]:
        """List the models that are alive."""
        found = [ref() for ref in self.models.values()]
        return [model for model in found if model is not None]


def _clean(path: str) -> str:
    return ".".join(part for part in path.split(".") if part not in _WRAPPERS)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the user's model inside DistributedDataParallel, DataParallel or torch.compile."""
    while True:
        inner = model._modules.get("_orig_mod")
        if inner is None and type(model).__name__ in ("DistributedDataParallel", "DataParallel"):
            inner = model._modules.get("module")
        if inner is None:
            return model
        model = inner
