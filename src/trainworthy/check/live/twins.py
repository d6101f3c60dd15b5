"""Copies of a user's model, for looks that run it once more, and surroundings in which that leaves no trace."""

from __future__ import annotations

import contextlib
import copy
import io
import random
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn

from trainworthy.check.live.loaders import tensors_in
from trainworthy.check.live.watch import plain

_MAX_BYTES = 512 * 1024**2
Model = TypeVar("Model", bound=nn.Module)


def copy_of(model: Model) -> Model:
    """Return a copy; what it holds of a graph, as the hidden state of its last call, is detached in it."""
    return copy.deepcopy(model, _without_graph(list(vars(module).values()) for module in model.modules()))


def copy_of_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return copies of what a module is called with, detached from the graph."""
    return copy.deepcopy((args, kwargs), _without_graph([[*args, *kwargs.values()]]))


def _without_graph(values: Iterable[list[Any]]) -> dict[int, Any]:
    """Return for ``deepcopy`` what stands for tensors that it refuses to copy: those that operations made."""
    return {id(t): t.detach().clone() for each in values for t in tensors_in(each) if t.grad_fn is not None}


def may_be_copied(model: nn.Module) -> bool:
    """Tell whether a model can be copied without harm: plain, without hooks, and small beside the free memory."""
    size = sum(t.numel() * t.element_size() for t in [*model.parameters(), *model.buffers()])
    hooked = any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())
    if hooked or size > _MAX_BYTES or any(not plain(p) for p in model.parameters()):
        return False
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free > 4 * size + 2 * torch.cuda.memory_allocated(device)
    return True


@contextmanager
def undisturbed() -> Iterator[None]:
    """Give random number generators, output and warnings back as they were."""
    state = random.getstate()
    numpy = sys.modules.get("numpy")
    drawn = numpy.random.get_state() if numpy is not None else None
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with contextlib.redirect_stdout(io.StringIO()):
                yield
    finally:
        random.setstate(state)
        if numpy is not None:
            numpy.random.set_state(drawn)
