"""Gradient accumulation for loops of your own: the gradient of the large batch, whatever it is split into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from trainworthy.errors import UsageError

Batch = TypeVar("Batch")


class Accumulated(NamedTuple):
    """What a step over several micro-batches came to.

    Attributes:
        loss: Mean over all items of all micro-batches and ranks, a scalar without gradient.
        weight: Their number, or the sum of their weights, a scalar.
    """

    loss: Tensor
    weight: Tensor


def accumulate(
    model: nn.Module, micro_batches: Sequence[Batch], *, loss: Callable[[nn.Module, Batch], Tensor],
    weight: Callable[[Batch], Tensor | float], scaler: torch.amp.GradScaler | None = None,
) -> Accumulated:  # fmt: skip
    """Add the gradient of the *mean over all items* of all micro-batches and ranks to ``.grad``.

    ``(loss / steps).backward()``, as it is often written, averages means: a micro-batch with few tokens then counts as
    much as one with many, and each of its tokens more. Here the weights of all are added up first, also over the ranks,
    and each *sum* is divided by that. DDP averages the gradients of the ranks, so the sums are multiplied by their
    number; the ranks exchange gradients once, at the last micro-batch.

    The caller calls ``optimizer.zero_grad()`` before, and clips and steps after.

    Args:
        model: Plain, or in ``DistributedDataParallel``.
        micro_batches: The batches of this step, of any sizes.
        loss: ``(model, batch)`` to the SUM of the loss over the items of the batch.
        weight: How many items a batch counts; known without a forward pass.
        scaler: For fp16: losses are scaled by it.

    >>> model = nn.Linear(1, 1, bias=False)
    >>> whole = torch.tensor([[1.0], [2.0], [4.0]])
    >>> step = accumulate(model, [whole[:2], whole[2:]], loss=lambda m, x: m(x).sum(), weight=len)
    >>> model.weight.grad.round(decimals=3), whole.mean().round(decimals=3)
    (tensor([[2.3330]]), tensor(2.3330))

    Raises:
        UsageError: If there is no micro-batch, or nothing in them counts.
    """
    if not micro_batches:
        raise UsageError("There is no micro-batch to accumulate.", fix="Give at least one.")
    device = next(model.parameters()).device
    # Sums of weights are whole numbers in practice, and exact in float64 (float32 where a device has none).
    precise = torch.float32 if device.type == "mps" else torch.float64
    weights = [torch.as_tensor(weight(batch)).to(device, precise) for batch in micro_batches]
    group = _group(model)
    total, ranks = torch.stack(weights).sum(), 1
    if group is not None:
        ranks = dist.get_world_size(group)
        dist.all_reduce(total, group=group)
    if total.item() <= 0:
        raise UsageError(f"The micro-batches of this step weigh {total.item():g}: there is nothing to learn from.")
    summed = torch.zeros((), device=device, dtype=precise)
    for index, batch in enumerate(micro_batches):
        with _quiet(model, last=index == len(micro_batches) - 1):
            value = loss(model, batch)
            share = value * (ranks / total).to(value.dtype)
            (share if scaler is None else scaler.scale(share)).backward()
        summed += value.detach()
    if group is not None:
        dist.all_reduce(summed, group=group)
    return Accumulated(summed / total, total)


def _group(model: nn.Module) -> dist.ProcessGroup | None:
    if isinstance(model, nn.parallel.DistributedDataParallel):
        return model.process_group
    return None


def _quiet(model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
    """Keep the ranks from exchanging gradients that are not complete."""
    if isinstance(model, nn.parallel.DistributedDataParallel) and not last:
        return model.no_sync()
    return nullcontext()
