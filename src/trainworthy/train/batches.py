"""What the engine asks of a batch, whatever it is made of: its tensors, its samples, and to be moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import torch

from trainworthy.errors import TrainError
from trainworthy.train.recipe import Batch, Number


def tensors_of(batch: Batch, path: str = "batch") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a batch with the path to each, such as ``batch['x'][0]``, in order."""
    if isinstance(batch, torch.Tensor):
        yield path, batch
    elif isinstance(batch, Mapping):
        for key, each in batch.items():
            yield from tensors_of(each, f"{path}[{key!r}]")
    elif isinstance(batch, (list, tuple)):
        for place, each in enumerate(batch):
            yield from tensors_of(each, f"{path}[{place}]")
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        for each in dataclasses.fields(batch):
            yield from tensors_of(getattr(batch, each.name), f"{path}.{each.name}")


def samples_of(batch: Batch) -> int:
    """Return the first dimension of the first tensor.

    Raises:
        TrainError: There is no tensor that has a dimension.
    """
    first = batch if isinstance(batch, torch.Tensor) else batch[0] if isinstance(batch, tuple) and batch else None
    if isinstance(first, torch.Tensor) and first.dim():
        return first.shape[0]
    for _, tensor in tensors_of(batch):
        if tensor.dim():
            return tensor.shape[0]
    raise TrainError(
        f"A batch of type {type(batch).__name__} holds no tensor whose first dimension counts its samples.",
        where="Recipe.count is None",
        fix="Give the recipe count=..., a function from a batch to the number of items its loss counts.",
    )


def counter(count: Callable[[Batch], Number] | None) -> Callable[[Batch], float]:
    """Return a function from a batch to its weight as a number of Python."""
    if count is None:
        return samples_of
    return lambda batch: float(count(batch))


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return the batch with its tensors on ``device``, in containers of the same types."""
    if isinstance(batch, torch.Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        pairs = {key: moved(each, device) for key, each in batch.items()}
        return pairs if type(batch) is dict else type(batch)(pairs)  # type: ignore[call-arg]
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(each, device) for each in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(moved(each, device) for each in batch)
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        values = {each.name: moved(getattr(batch, each.name), device) for each in dataclasses.fields(batch)}
        return dataclasses.replace(batch, **values)
    return batch.to(device) if hasattr(batch, "to") else batch
