"""What runs through a model at its beginning: one more forward pass of a copy, with hooks on its layers.

The copy is thrown away; random generators are put back. Models that cannot be copied are left out.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import Signals
from trainworthy.check.live.limits import in_time, limit_s
from trainworthy.check.live.loaders import tensors_in
from trainworthy.check.live.models import Call
from trainworthy.check.live.names import unwrap
from trainworthy.check.live.twins import copy_of, copy_of_arguments, may_be_copied, undisturbed
from trainworthy.check.live.watch import Watch, plain

_LAYERS = (nn.Linear, _ConvNd)
_END: dict[type[nn.Module], tuple[float, float]] = {nn.Tanh: (-0.97, 0.97), nn.Sigmoid: (0.015, 0.985)}
_TANH_END = _END[nn.Tanh][1]
_ALONE = (nn.Tanh, nn.RNNBase, nn.RNNCellBase)  # what these do is told by their name, or their own affair
_HEARD: tuple[type[nn.Module], ...] = (*_LAYERS, *_END)


def look_at_signals(watch: Watch, call: Call, *, has_tanh: bool = False) -> None:
    """Run a copy of the model with the arguments of its first call, and note spreads, saturation and streams.

    ``has_tanh`` says that the function was called somewhere.
    """
    with watch.own_work(), undisturbed():
        watch.attempt("signals", in_time, limit_s(call.began_s), _look, watch, call, has_tanh)


def _look(watch: Watch, call: Call, has_tanh: bool) -> None:
    model = unwrap(call.model)
    tensors = list(tensors_in([*call.args, *call.kwargs.values()]))
    of_interest = has_tanh or _is_of_interest(model)
    if tensors and all(plain(t) for t in tensors) and of_interest and may_be_copied(model):
        twin = copy_of(model)
        args, kwargs = copy_of_arguments(call.args, call.kwargs)
        signals = _Listener(twin, watch.place).listen(args, kwargs, call, type(model).__name__)
        watch.facts.signals.append(_with_origins(watch, model, signals))


def _with_origins(watch: Watch, model: nn.Module, signals: Signals) -> Signals:
    """Add where what is told of came about: the twin that was looked at has no origin."""
    parts = dict(model.named_modules())
    norm = next((parts.get(name) for name, _ in signals.two_streams), None)
    before = next((_layer_before(parts, name) for name, _ in signals.saturated), None)
    return replace(signals, made_at=watch.made_at(norm), filled_at=watch.filled_at(before.weight) if before else None)


def _layer_before(parts: dict[str, nn.Module], name: str) -> Any:
    """Return the last layer with a weight that stands before a module in the model."""
    before = list(parts)[: list(parts).index(name)] if name in parts else []
    return next((parts[one] for one in reversed(before) if isinstance(parts[one], _LAYERS)), None)


def _is_of_interest(model: nn.Module) -> bool:
    modules = list(model.modules())
    return (
        sum(isinstance(m, _LAYERS) for m in modules) >= 6
        or any(isinstance(m, tuple(_END)) for m in modules)
        or any(isinstance(m, _BatchNorm) for m in modules)
    )


class _Tanhs(TorchDispatchMode):
    """Hears the function tanh, where no layer of torch calls it, by line: the shares at its ends."""

    def __init__(self, place: Callable[[], Place]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.place = place
        self.within = 0  # layers of torch
        self.shares: dict[Place, list[float]] = {}
        self._made: list[tuple[Place, torch.Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.tanh.default and not self.within and out.numel() > 1:
            place = self.place()
            self.shares.setdefault(place, []).append(float((out.abs() > _TANH_END).float().mean()))
            self._made.append((place, out))
        return out

    def within_models(self, result: Any) -> dict[Place, float]:
        """Return the share at the ends by line, of most of its calls; not of lines that make what the model gives."""
        given = {t.data_ptr() for t in tensors_in([result])}
        last = {place for place, out in self._made if out.data_ptr() in given}
        self._made.clear()
        return {place: statistics.median_low(seen) for place, seen in self.shares.items() if place not in last}


class _Listener:
    def __init__(self, twin: nn.Module, place: Callable[[], Place]) -> None:
        self.twin = twin
        self.tanhs = _Tanhs(place)
        self.spreads: list[tuple[str, float]] = []
        self.ends: dict[str, float] = {}
        self.streams: dict[str, list[tuple[float, float]]] = {}
        self.last = ""

    def listen(self, args: Any, kwargs: Any, call: Call, name: str) -> Signals:
        """Run the copy once."""
        has_norms = any("Norm" in type(m).__name__ for m in self.twin.modules())
        for path, module in self.twin.named_modules():
            if isinstance(module, _BatchNorm):
                module.register_forward_pre_hook(lambda m, given, path=path: self._norm(path, given))
            elif isinstance(module, _HEARD):
                module.register_forward_hook(lambda m, given, made, path=path: self._made(path, m, made))
        for module in self.twin.modules():
            if isinstance(module, _ALONE):
                module.register_forward_pre_hook(lambda m, given: self._enter(1))
                module.register_forward_hook(lambda m, given, made: self._enter(-1))
        with self.tanhs:
            result = self.twin(*args, **kwargs)
        self.ends.pop(self.last, None)
        apart = {path: gap for path, seen in self.streams.items() if (gap := _gap(seen)) > 0}
        return Signals(
            place=call.place, model=name, spreads=() if has_norms else tuple(self.spreads),
            saturated=tuple(self.ends.items()), two_streams=tuple(apart.items()),
            saturated_lines=tuple(self.tanhs.within_models(result).items()),
        )  # fmt: skip

    def _enter(self, by: int) -> None:
        self.tanhs.within += by

    def _made(self, path: str, module: nn.Module, made: Any) -> None:
        if not isinstance(made, torch.Tensor) or not made.is_floating_point() or made.numel() < 2:
            return
        self.last = path
        if isinstance(module, _LAYERS):
            self.spreads.append((path, float(made.float().std())))
            return
        low, high = next(ends for kind, ends in _END.items() if isinstance(module, kind))
        self.ends[path] = float(((made < low) | (made > high)).float().mean())

    def _norm(self, path: str, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], torch.Tensor) and given[0].numel() > 1:
            values = given[0].float()
            self.streams.setdefault(path, []).append((float(values.mean()), float(values.std())))


def _gap(seen: list[tuple[float, float]]) -> float:
    """Return how many spreads the means of two calls are apart; as ratio of spreads where that is larger."""
    if len(seen) < 2:
        return 0.0
    means, spreads = [m for m, _ in seen], [s for _, s in seen]
    least, most = min(spreads), max(spreads)
    return max((max(means) - min(means)) / most if most else 0.0, most / least / 3 if least else 0.0)
