"""What an estimate wants to know of a training beside its operations: inputs of a step, batches, TF32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.data import BatchSampler

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_MAX_FORWARDS = 4096  # of the root modules, over the whole rehearsal
_MAX_TIMES = 64  # of one loader
_MAX_LOADERS = 8


class StepNotes:
    """Listens while a script is rehearsed; ``notes`` is what goes into its tape."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._gpu = gpu
        self._inputs: dict[tuple[int, str, tuple[Any, ...]], int] = {}
        self._loaders: list[dict[str, Any]] = []
        self._by_place: dict[tuple[str | None, int | None, int], dict[str, Any]] = {}
        self._forwards = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context is open."""
        modules = self._gpu.recorder.modules
        modules.on_root_enter.append(self._root_enters)
        try:
            yield
        finally:
            modules.on_root_enter.remove(self._root_enters)

    def notes(self) -> dict[str, Any]:
        """Return what was noted so far."""
        return {
            "step_inputs": [
                {"step": step, "module": module, "tensors": [list(each) for each in tensors], "forwards": count}
                for (step, module, tensors), count in self._inputs.items()
            ],
            "loading": self._loaders,
            "matmul_tf32": _allows_tf32(torch.backends.cuda.matmul),
            "conv_tf32": bool(torch.backends.cudnn.allow_tf32),
        }

    def batch(
        self, loader: Any, *, workers: int, seconds: float, place: tuple[str | None, int | None], batch: Any = None
    ) -> None:
        """Note that a batch for the training was loaded."""
        entry = self._by_place.get((*place, workers))
        if entry is None:
            if len(self._loaders) >= _MAX_LOADERS:
                return
            size, drop_last, count = batching_of(loader)
            entry = {
                "path": place[0], "line": place[1], "workers": workers,
                "batch_size": size, "drop_last": drop_last, "dataset_size": count, "batches": 0, "seconds": [],
                "shapes": [[int(n) for n in t.shape] for t in _flat((batch,))][:16],
            }  # fmt: skip
            self._by_place[(*place, workers)] = entry
            self._loaders.append(entry)
        entry["batches"] += 1
        if len(entry["seconds"]) < _MAX_TIMES:
            entry["seconds"].append(round(seconds, 9))

    def _root_enters(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        is_loss = isinstance(module, nn.modules.loss._Loss)
        if is_loss or not torch.is_grad_enabled() or self._gpu.recorder.backward.in_backward:
            return
        if self._forwards >= _MAX_FORWARDS:
            return
        self._forwards += 1
        tensors = tuple(_described(value) for value in _flat((*args, *kwargs.values())) if value.dim())
        # The first forward of a step may come before the step is begun.
        key = (max(self._gpu.recorder.steps.current, 1), type(module).__name__, tensors[:8])
        self._inputs[key] = self._inputs.get(key, 0) + 1


def _described(tensor: torch.Tensor) -> tuple[Any, ...]:
    return (str(tensor.dtype).removeprefix("torch."), tuple(int(size) for size in tensor.shape))


def _flat(values: tuple[Any, ...]) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _flat(tuple(value))
        elif isinstance(value, dict):
            yield from _flat(tuple(value.values()))


def batching_of(loader: Any) -> tuple[int | None, bool, int | None]:
    """Return how many samples a loader's batches hold, if it drops the last ones, and how many samples it has.

    A loader that was given torch's own `BatchSampler` says nothing of these, but its sampler does.
    """
    size, sampler = getattr(loader, "batch_size", None), getattr(loader, "batch_sampler", None)
    if size is None and type(sampler) is BatchSampler:
        return int(sampler.batch_size), bool(sampler.drop_last), _length(sampler.sampler)
    return size, bool(getattr(loader, "drop_last", False)), _length(getattr(loader, "dataset", None))


def _length(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except Exception:  # an iterable data set has no length, or a wrong one
        return None


def _allows_tf32(matmul: Any) -> bool:
    try:
        return bool(matmul.allow_tf32)
    except RuntimeError:  # torch refuses to read the old switch where the new one was set
        return torch.get_float32_matmul_precision() != "highest"
