"""Views that the user's own lines take in a forward pass: of which shape, as which."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from trainworthy.check.live.facts_seldom import View
from trainworthy.check.live.watch import Watch, plain

_VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default, torch.ops.aten._reshape_alias.default)
_MAX_VIEWS = 1000
_TORCH = Path(torch.__file__).parent
_MODES = ("_ops.py", "_dynamo", "_compile.py", "utils/_python_dispatch.py")  # a mode's operators pass through these
_PASSED = (str(Path(__file__).parents[2]), *(str(_TORCH / name) for name in _MODES))


class ViewWatch(TorchDispatchMode):
    """Writes down each view once, and whether it is one of ``data``; not those that libraries take."""

    def __init__(self, watch: Watch, data: Sequence[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.watch = watch
        self._data = {one.untyped_storage().data_ptr() for one in data if plain(one)}
        self._seen: set[tuple[tuple[int, ...], tuple[int, ...], Any, int]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func in _VIEWS:
            caller = _caller(sys._getframe(1))
            if caller is not None and self.watch.finder.is_user(caller.f_code):
                self._note(args[0], tuple(out.shape), caller)
        return out

    def _note(self, tensor: torch.Tensor, after: tuple[int, ...], caller: FrameType) -> None:
        before = tuple(tensor.shape)
        key = before, after, caller.f_code, caller.f_lineno
        if before == after or key in self._seen or len(self._seen) >= _MAX_VIEWS:
            return
        self._seen.add(key)
        is_data = plain(tensor) and tensor.untyped_storage().data_ptr() in self._data
        self.watch.facts.views.append(View(place=self.watch.place(), before=before, after=after, is_data=is_data))


def _caller(frame: FrameType | None) -> FrameType | None:
    """Return the frame that called torch, below those of modes like this one, which call operators in their turn."""
    while frame is not None and frame.f_code.co_filename.startswith(_PASSED):
        frame = frame.f_back
    return frame
