"""``Module.apply``: which parameters are filled with random numbers, and on whose turn."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from trainworthy.check.live.facts_setup import Reinitialised
from trainworthy.check.live.modes import remove_mode
from trainworthy.check.live.watch import Watch

_LOOK = "Module.apply"
_FILLS = frozenset(
    "normal_ uniform_ trunc_normal_ kaiming_normal_ kaiming_uniform_ xavier_normal_ xavier_uniform_ orthogonal_ "
    "log_normal_ exponential_ cauchy_ geometric_ random_ bernoulli_".split()
)


class ApplyWatch:
    """Follows the outermost ``apply``; one that is called within another belongs to it."""

    compiled_code_sees_it = True

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.at: int | None = None  # the line of the outermost apply, while it is under way
        self._fills: _Fills | None = None

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace ``nn.Module.apply`` while the context is open."""
        apply = nn.Module.apply

        def watched(module: nn.Module, fn: Any) -> Any:
            if not self.watch.looking or self.watch.busy:
                return apply(module, fn)
            if self._fills is not None:  # the recursion of an apply that is watched
                return apply(module, fn)
            fills = self.watch.attempt(_LOOK, _Fills, self.watch, module)
            if fills is None:
                return apply(module, fn)
            self._fills = fills
            self.at, _ = self.watch.finder.find(sys._getframe(1))
            fills.__enter__()  # type: ignore[no-untyped-call]
            try:
                return apply(module, fills.on_turn(fn))
            finally:
                remove_mode(fills)
                self._fills = self.at = None
                self.watch.attempt(_LOOK, fills.note)

        nn.Module.apply = watched  # type: ignore[method-assign, assignment]
        try:
            yield
        finally:
            nn.Module.apply = apply  # type: ignore[method-assign]


class _Fills(TorchFunctionMode):
    """Notes which of a model's parameters a function fills with random numbers, for which modules."""

    def __init__(self, watch: Watch, model: nn.Module) -> None:
        super().__init__()
        self.watch = watch
        self._model = model
        self._turn: nn.Module | None = None
        self._names = {p.data_ptr(): name for name, p in model.named_parameters() if p.numel()}
        self._turns: dict[tuple[int, int], dict[int, nn.Module]] = {}  # memory and line: the modules on their turn

    def on_turn(self, fn: Any) -> Any:
        """Return ``fn`` so that it is known whose turn it is."""

        def called(module: nn.Module) -> Any:
            before, self._turn = self._turn, module
            try:
                return fn(module)
            finally:
                self._turn = before

        return called

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        turn = self._turn
        if turn is not None and getattr(func, "__name__", "") in _FILLS:
            tensor = next((a for a in (*args, *(kwargs or {}).values()) if isinstance(a, torch.Tensor)), None)
            if tensor is not None and tensor.device.type != "meta":
                with self.watch.own_work():
                    self.watch.attempt(_LOOK, self._fill, tensor, turn)
        return out

    def _fill(self, tensor: torch.Tensor, turn: nn.Module) -> None:
        pointer = tensor.data_ptr()
        own = {p.data_ptr() for p in turn._parameters.values() if p is not None}
        if pointer in self._names and pointer not in own:
            place, _ = self.watch.finder.find(sys._getframe(1))
            self._turns.setdefault((pointer, place), {})[id(turn)] = turn

    def note(self) -> None:
        """Write down the line that filled parameters on the turns of several modules above their own."""
        by_line: dict[int, list[tuple[str, dict[int, nn.Module]]]] = {}
        for (pointer, line), turns in self._turns.items():
            if len(turns) >= 2:
                by_line.setdefault(line, []).append((self._names[pointer], turns))
        for line, found in by_line.items():
            most = max((turns for _, turns in found), key=len)
            self.watch.facts.reinitialised.append(Reinitialised(
                place=self.watch.place_of(line), names=tuple(name for name, _ in found),
                modules=tuple(type(m).__name__ for m in most.values()), times=len(most),
            ))  # fmt: skip
        self._turns.clear()
