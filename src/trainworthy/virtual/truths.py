"""``if tensor:`` and ``assert tensor`` where the value is unknown: which way the script goes.

==============================  ==================================================================
one way only raises             the other: a script that would stop here is not worth rehearsing
asked 100 times at one line     the other answer, once: a loop that waits for a condition goes on
within a step
else                            what is assumed of the value: False of a comparison
==============================  ==================================================================
"""

from __future__ import annotations

import dis
import functools
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import torch

from trainworthy.virtual import values
from trainworthy.virtual.tensors import is_virtual

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

PATIENCE = 100
_ENDS_A_BRANCH = ("RETURN", "STORE", "DELETE", "FOR_ITER", "YIELD", "RERAISE", "JUMP", "POP_JUMP")


class Truths:
    """Answers for unknown truths, with how often each line has asked since the last optimizer step."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._gpu = gpu
        self._asked: dict[tuple[CodeType, int | None], int] = {}
        self._step = 0

    def answer(self, tensor: torch.Tensor, frame: FrameType | None) -> bool:
        """Decide which way the code in ``frame`` goes."""
        assumed = bool(values.assumed_value(tensor))
        if frame is None:
            return assumed
        safe = way_that_does_not_raise(frame.f_code, frame.f_lasti)
        return self._after_patience(frame, assumed) if safe is None else safe

    def _after_patience(self, frame: FrameType, assumed: bool) -> bool:
        step = self._gpu.recorder.steps.completed
        if step != self._step:
            self._asked.clear()
            self._step = step
        place = (frame.f_code, frame.f_lineno)
        asked = self._asked[place] = self._asked.get(place, 0) + 1
        if asked % PATIENCE:
            return assumed
        self._gpu.assume(f"a condition asked {PATIENCE} times within a step: once it is taken the other way")
        return not assumed


def truth_of(gpu: VirtualGpu) -> Callable[[torch.Tensor], bool]:
    """Return what stands in for ``Tensor.__bool__``."""
    raw: Callable[[torch.Tensor], bool] = torch.Tensor.__bool__
    truths = Truths(gpu)

    @functools.wraps(raw)
    def __bool__(self: torch.Tensor) -> bool:  # noqa: N807 - it replaces that method
        if not is_virtual(self) or self.numel() != 1 or not _is_unknown(self):
            return raw(self)
        values.set_hint(self, truths.answer(self, sys._getframe(1)))
        try:
            return raw(self)  # so that the value read from the device is on the tape
        finally:
            values.set_hint(self, None)

    return __bool__


def _is_unknown(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and values.shadow_of(tensor) is None and values.hint_of(tensor) is None


@functools.lru_cache(maxsize=4096)
def way_that_does_not_raise(code: CodeType, offset: int) -> bool | None:
    """Return the truth that leads away from a ``raise`` or a failed ``assert``; None if both or neither do."""
    instructions = list(dis.get_instructions(code))
    index = next((i for i, each in enumerate(instructions) if each.offset == offset), None)
    if index is None:
        return None
    if instructions[index].opname == "TO_BOOL":  # from Python 3.13 on, before the jump
        index += 1
    jump = instructions[index]
    if not jump.opname.startswith("POP_JUMP") or not jump.opname.endswith(("IF_TRUE", "IF_FALSE")):
        return None
    target = next((i for i, each in enumerate(instructions) if each.offset == jump.argval), len(instructions))
    stays, jumps = _raises(instructions[index + 1 :]), _raises(instructions[target:])
    if stays == jumps:
        return None
    return jump.opname.endswith("IF_TRUE") is stays


def _raises(instructions: list[Any]) -> bool:
    """Tell whether a branch does nothing but raise (and say so before)."""
    for each in instructions:
        if each.opname == "RAISE_VARARGS":
            return True
        if each.opname.startswith(_ENDS_A_BRANCH):
            return False
    return False
