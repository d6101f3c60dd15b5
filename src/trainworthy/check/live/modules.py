"""Which module runs; what models are given; modes."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from types import CodeType, FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from trainworthy.check.live.facts_steps import Forward
from trainworthy.check.live.watch import Watch, plain
from trainworthy.tape.source import Line
from trainworthy.virtual.nested import tensors_of

_MAX_RESULTS = 8
_Lines = tuple[Line | None, Line | None]  # the user's, and the innermost one of a library on the way to it
Listener = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]
# These choose a fused path by whether a function mode is on; in evaluation they run as if nobody looked.
_FUSED = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)


class ModuleWatch:
    """Follows calls of modules; a *root* is a module that no other module called."""

    compiled_code_sees_it = True

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.stack: list[nn.Module] = []
        self.before_root: Callable[[nn.Module], None] = lambda module: None
        self.on_root: list[Listener] = []
        self.on_root_exit: list[Callable[[nn.Module, Any], None]] = []
        self.seen_norms: dict[int, _BatchNorm] = {}
        self.last_loader: Callable[[], int | None] = lambda: None
        self._mode_layers: dict[int, tuple[tuple[str, ...], bool]] = {}
        self._wholes: dict[tuple[int, int], int] = {}
        self._anchors = _Anchors()
        self._judged: set[int] = set()  # forwards that a loss or a comparison followed
        self._used: set[int] = set()  # forwards whose results a gradient reached
        self._call_code: CodeType | None = None  # of what replaces ``nn.Module.__call__``
        self._callers: list[_Lines | None] = []  # of each call on the stack, once somebody asked

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Replace ``nn.Module.__call__`` while the context is open."""
        call = nn.Module.__call__
        watch, stack, callers = self.watch, self.stack, self._callers

        def watched(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not watch.looking or watch.busy or watch.in_backward:
                return call(module, *args, **kwargs)
            if not stack:
                watch.rely_on("calls of models", self._root, module, args, kwargs)
            watch.names.called.add(id(module))
            stack.append(module)
            callers.append(None)
            try:
                if not module.training and isinstance(module, _FUSED):
                    with torch._C.DisableTorchFunction():
                        out = call(module, *args, **kwargs)
                else:
                    out = call(module, *args, **kwargs)
            finally:
                stack.pop()
                callers.pop()
            if not stack and watch.looking:
                watch.rely_on("calls of models", self._left, module, out)
            return out

        self._call_code = watched.__code__
        nn.Module.__call__ = watched  # type: ignore[method-assign]
        try:
            yield
        finally:
            nn.Module.__call__ = call  # type: ignore[method-assign]
            self.seen_norms.clear()

    def _left(self, module: nn.Module, out: Any) -> None:
        self.watch.attempt("results of models", self._follow_result, module, out)
        for listener in self.on_root_exit:
            listener(module, out)

    def _follow_result(self, module: nn.Module, out: Any) -> None:
        """Learn whether a gradient reaches the results of a call in training mode."""
        at = len(self.watch.facts.forwards) - 1
        if module.training and torch.is_grad_enabled() and at >= 0:
            for tensor in islice(tensors_of(out), _MAX_RESULTS):
                if plain(tensor) and tensor.grad_fn is not None:
                    tensor.register_hook(lambda grad: self._used.add(at))

    def judged(self) -> None:
        """Learn that what a model said, without gradients, is compared with something."""
        self._judged.add(len(self.watch.facts.forwards) - 1)

    def finish(self) -> None:
        """Write down which results gradients reached, and which were compared with something."""
        facts = self.watch.facts
        facts.forwards[:] = [
            replace(f, used=at in self._used, judged=at in self._judged) for at, f in enumerate(facts.forwards)
        ]

    def source(self, frame: FrameType | None) -> int:
        """Return the number of the user's innermost line that led to ``frame``.

        What lies above the innermost call of a module stays as it is until that call returns, and is looked up once:
        a model of a library has many operations, deep down.
        """
        user, library = self._line(frame, len(self.stack) - 1)
        if user is None:
            user, library = library, None
        return self.watch.finder.number(user, library) if user is not None else 0

    def _line(self, frame: FrameType | None, depth: int) -> _Lines:
        user, library, call = self.watch.finder.search(frame, self._call_code)
        if call is None:
            return user, library
        if depth < 0:  # a call that nobody follows
            above = self._line(call.f_back, depth)
        else:
            known = self._callers[depth]
            if known is None:
                known = self._callers[depth] = self._line(call.f_back, depth - 1)
            above = known
        return above[0], library or above[1]

    def current_name(self) -> str:
        """Name the innermost module that runs; empty outside of all."""
        return self.watch.names.module(self.stack[-1]) if self.stack else ""

    def _root(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        watch = self.watch
        if isinstance(module, nn.modules.loss._Loss):
            return
        self.before_root(module)
        if not watch.looking:  # that was the end
            return
        with watch.own_work_flag(), torch._C.DisableTorchFunction():
            if not watch.names.is_part(module):
                watch.names.learn(module)
            layers, trainable = self._modes(module)
            place = watch.place()
            watch.facts.forwards.append(Forward(
                step=watch.step, place=place, model=id(module), name=watch.names.module(module),
                training=module.training, grad=torch.is_grad_enabled(), mode_layers=layers, trainable=trainable,
                loader=self.last_loader(), whole=self._whole(module),
                anchor=watch.attempt("data of models", self._anchors.number, args, kwargs),
                mode_set_at=watch.mode_set_at(module),
            ))  # fmt: skip
            for listener in self.on_root:
                listener(module, args, kwargs)

    def _whole(self, module: nn.Module) -> int:
        """Return the identity of the known model that a module is a part of, or its own."""
        key = (id(module), len(self.watch.names.models))
        known = self._wholes.get(key)
        if known is None:
            around = (m for m in self.watch.names.alive() if m is not module)
            known = next((id(m) for m in around if any(one is module for one in m.modules())), id(module))
            self._wholes[key] = known
        return known

    def _modes(self, module: nn.Module) -> tuple[tuple[str, ...], bool]:
        known = self._mode_layers.get(id(module))
        if known is None:
            found = []
            for each in module.modules():
                if acts_by_mode(each):
                    found.append(type(each).__name__)
            trainable = any(p.requires_grad for p in module.parameters())
            known = self._mode_layers[id(module)] = (tuple(dict.fromkeys(found)), trainable)
        return known


class _Anchors:
    """Numbers tensors, and what they are views of, for as long as they live."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[torch.Tensor], int]] = {}
        self._next = 0

    def number(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
        """Return the number of the first tensor among arguments."""
        tensor = next((one for one in (*args, *kwargs.values()) if isinstance(one, torch.Tensor)), None)
        if tensor is None or not plain(tensor) or tensor.requires_grad:
            return None
        whole = tensor._base if tensor._base is not None else tensor
        ref, number = self._known.get(id(whole), (None, 0))
        if ref is None or ref() is not whole:
            self._next += 1
            number = self._next
            self._known[id(whole)] = (weakref.ref(whole), number)
        return number


def acts_by_mode(module: nn.Module) -> bool:
    """Tell whether a layer does something else in training than in evaluation."""
    if isinstance(module, nn.RNNBase):
        return bool(module.dropout and module.num_layers > 1)
    if isinstance(module, nn.MultiheadAttention):
        return bool(module.dropout)
    # Without a momentum, statistics are counted on purpose, in training mode: that is what ``update_bn`` does.
    return (isinstance(module, _BatchNorm) and module.track_running_stats and module.momentum is not None) or (
        isinstance(module, _DropoutNd) and module.p > 0
    )
