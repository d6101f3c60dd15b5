"""Gradients summed over the replicas of a model, in buckets that travel while the backward pass goes on.

What torch's DistributedDataParallel does, with four differences that a run needs which is exact:

- The buckets are fixed. DDP builds them anew after its first step, in the order in which gradients came, so that the
  first step after a resume adds up in another order than the same step of an uninterrupted run.
- A loss may call any part of the model, and several optimizers may each own a part: nothing hangs on one ``forward``.
- A parameter without a gradient on one rank counts as zero; without one on all ranks it has none.
- Gradients are summed, not averaged: the loss is divided by the weight of the whole step beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

_BUCKET_BYTES = 25 * 2**20  # as DDP's default: large enough for full bandwidth, small enough to start early


class Bucket:
    """Some gradients side by side in one flat tensor, then one flag for each: whether this rank has it."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        like = parameters[0]
        sizes = [each.numel() for each in parameters]
        self.parameters = parameters
        self.flat = torch.zeros(sum(sizes) + len(sizes), dtype=like.dtype, device=like.device)
        parts = self.flat[: sum(sizes)].split(sizes)
        self.slots = [part.view_as(each) for part, each in zip(parts, parameters, strict=True)]
        self.flags = self.flat[sum(sizes) :]
        self._had: tuple[bool, ...] | None = None  # by this rank, when the buckets last left
        self._had_on_device = torch.zeros_like(self.flags)
        self.missing = len(parameters)
        self.work: Any = None

    def launch(self, group: Any) -> None:
        """Fill the slots and send them on their way."""
        gradients = [each.grad for each in self.parameters]
        had = tuple(each is not None for each in gradients)
        if had != self._had:  # the same in every step, as a rule
            self._had = had
            self._had_on_device.copy_(torch.tensor(had, dtype=self.flags.dtype))
        self.flags.copy_(self._had_on_device)
        slots = [slot for slot, each in zip(self.slots, had, strict=True) if each]
        if slots:
            torch._foreach_copy_(slots, [each for each in gradients if each is not None])
        for slot, each in zip(self.slots, had, strict=True):
            if not each:
                slot.zero_()
        self.work = distributed.all_reduce(self.flat, group=group, async_op=True)

    def take(self) -> None:
        """Wait, and make the sums the parameters' gradients."""
        self.work.wait()
        self.work, self.missing = None, len(self.parameters)
        for place, (parameter, slot) in enumerate(zip(self.parameters, self.slots, strict=True)):
            if parameter.grad is not None or bool(self.flags[place]):
                parameter.grad = slot


class Replicas:
    """Sums the gradients of some parameters over a process group."""

    def __init__(self, parameters: Sequence[nn.Parameter], group: Any) -> None:
        self._group = group
        self._buckets = [Bucket(each) for each in _buckets(parameters)]
        self._home = {id(each): bucket for bucket in self._buckets for each in bucket.parameters}
        self._next = 0
        self._listening = False
        self._hooks = [each.register_post_accumulate_grad_hook(self._arrived) for each in parameters]

    def expect(self) -> None:
        """Say that the next backward pass is the last of the step: buckets leave as soon as they are full."""
        self._listening = True

    def finish(self) -> None:
        """Send what has not left yet, and wait until every gradient is the sum."""
        self._listening = False
        for bucket in self._buckets[self._next :]:
            bucket.launch(self._group)
        for bucket in self._buckets:
            bucket.take()
        self._next = 0

    def close(self) -> None:
        """Let go of the parameters."""
        for hook in self._hooks:
            hook.remove()

    def _arrived(self, parameter: Tensor) -> None:
        if not self._listening:
            return
        self._home[id(parameter)].missing -= 1
        while self._next < len(self._buckets) and self._buckets[self._next].missing == 0:  # the same order on all ranks
            self._buckets[self._next].launch(self._group)
            self._next += 1


class Buffers:
    """Keeps the buffers of replicas (the running statistics of BatchNorm) as those of the first rank."""

    def __init__(self, model: nn.Module, group: Any) -> None:
        self._group = group
        self._buffers = [each for each in model.buffers() if each.numel()]
        self._versions = [each._version for each in self._buffers]

    def join(self) -> None:
        """Take over from the first rank, if a step has changed any of them.

        All of them then: BatchNorm's kernels write running means and variances without a trace in ``_version``, which
        shows only in the number of batches beside them.
        """
        if self._versions == [each._version for each in self._buffers]:
            return
        for buffer in self._buffers:
            distributed.broadcast(buffer, group=self._group, group_src=0)
        self._versions = [each._version for each in self._buffers]


def _buckets(parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Group parameters of one type and device, last first: the order in which gradients come, more or less."""
    buckets: list[list[nn.Parameter]] = []
    open_ones: dict[Any, tuple[list[nn.Parameter], int]] = {}
    for each in reversed(parameters):
        key = (each.dtype, each.device)
        members, size = open_ones.get(key, ([], 0))
        if not members:
            buckets.append(members)
        members.append(each)
        size += each.numel() * each.element_size()
        open_ones[key] = ([], 0) if size >= _BUCKET_BYTES else (members, size)
    return buckets
