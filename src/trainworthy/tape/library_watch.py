"""What torch does to storages and tensors beside operators, followed while a recorder is entered."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from trainworthy.tape.recorder import Recorder


@contextmanager
def resizes_followed(recorder: Recorder) -> Iterator[None]:
    """Follow ``storage.resize_``, which is no operator, when it happens and not at the next use."""
    owner: Any = torch.UntypedStorage
    resize = owner.resize_

    def resize_(storage: torch.UntypedStorage, size: int) -> Any:
        out = resize(storage, size)
        record = recorder.ledger.live.get(storage._cdata)
        if record is not None and record.size_bytes != size:
            recorder.ledger.resize(record, size, recorder.steps.current)
        return out

    owner.resize_ = resize_
    try:
        yield
    finally:
        owner.resize_ = resize


@contextmanager
def libraries_left_alone(recorder: Recorder) -> Iterator[None]:
    """Leave out what a communication library does while it is waited for: gloo copies out of buffers of its own."""
    work: Any = getattr(torch.distributed, "Work", None)
    if work is None:  # a build of torch without torch.distributed
        yield
        return
    wait = work.wait

    def waited(*args: Any, **kwargs: Any) -> Any:
        before, recorder._blind = recorder._blind, True
        try:
            return wait(*args, **kwargs)
        finally:
            recorder._blind = before

    work.wait = waited
    try:
        yield
    finally:
        work.wait = wait


@contextmanager
def swaps_let(recorder: Recorder) -> Iterator[None]:
    """Let go of parameters while ``torch.utils.swap_tensors`` works, which refuses tensors with weak references."""
    swap: Any = torch.utils.swap_tensors
    known = recorder._parameters

    def swap_tensors(one: torch.Tensor, two: torch.Tensor) -> None:
        held = [tensor for tensor in (one, two) if known.pop(id(tensor), None) is not None]
        swap(one, two)
        known.update({id(tensor): weakref.ref(tensor) for tensor in held})

    torch.utils.swap_tensors = swap_tensors
    try:
        yield
    finally:
        torch.utils.swap_tensors = swap
