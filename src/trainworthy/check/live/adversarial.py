"""Which way the losses of two networks push the scores of one of them, and how hard.

The gradient at a score s says what loss it is of, however that is written: a cross-entropy towards 1 pushes up by
sigmoid(-s), one towards 0 down by sigmoid(s), and what maximises one of the two pushes the other way. Probabilities
instead of logits are told apart by the same laws. A discriminator is a module that is given data in one call and, in
another, what a network made, with its graph.
"""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import Adversary
from trainworthy.check.live.loaders import tensors_in
from trainworthy.check.live.operators import PLACE_KEY
from trainworthy.check.live.watch import Watch, plain

_STEPS, _MAX_CALLS, _MAX_FOUND = 8, 64, 16
_LEAST, _MOST = 4, 1 << 15  # scores of a call
_EXACT, _VARIES = 0.1, 1e-3
_CALL_KEY = "trainworthy.scores"
_NEAR = 64  # nodes from a loss to the scores that it is of

Push = Literal["to 0", "to 1", "from 0", "from 1"]


@dataclass(slots=True)
class _Scored:
    """A call of a module, what it gave, and the gradient that came back; ``mark`` tells inputs apart."""

    module: weakref.ref[nn.Module]
    name: str
    place: Place
    scores: torch.Tensor
    of_graph: bool
    mark: torch.Tensor
    gradients: list[torch.Tensor] = field(default_factory=list)


class AdversarialWatch:
    """Listens to the results of root modules in the first steps, and judges at the end of each."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.stepped: Callable[[], frozenset[int]] = frozenset
        self._given: tuple[nn.Module, torch.Tensor | None] | None = None
        self._calls: list[_Scored] = []
        self._made: deque[tuple[int, torch.Tensor]] = deque(maxlen=_MAX_CALLS)  # by which module
        self._lines: dict[Place, Place] = {}  # that make a loss of scores, by the line of the call
        self._before: list[tuple[_Scored, Push]] = []  # of the discriminator's last step

    def module_called(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Remember what a module is given."""
        self._given = None
        if self.watch.step < _STEPS and len(self._calls) < _MAX_CALLS:
            tensors = (t for t in tensors_in([*args, *kwargs.values()]) if plain(t) and t.is_floating_point())
            self._given = (module, next(tensors, None))

    def module_left(self, module: nn.Module, out: Any) -> None:
        """Follow the result of a module that was given numbers."""
        given, self._given = self._given, None
        if given is None or given[0] is not module or not isinstance(out, torch.Tensor) or not plain(out):
            return
        if not out.is_floating_point() or isinstance(module, nn.modules.loss._Loss):
            return
        with self.watch.own_work():
            self._made.append((id(module), _mark(out)))
            fed: torch.Tensor | None = given[1]
            node: Any = out.grad_fn
            if fed is None or node is None or not _LEAST <= out.numel() <= _MOST:
                return
            call = _Scored(
                weakref.ref(module), self.watch.names.module(module), self.watch.facts.forwards[-1].place,
                out.detach(), fed.grad_fn is not None, _mark(fed),
            )  # fmt: skip
            self._calls.append(call)
            node.metadata[_CALL_KEY] = call
            gradients = call.gradients
            out.register_hook(lambda gradient: gradients.append(gradient.detach()))

    def before_backward(self, nodes: list[Any]) -> None:
        """Find the lines that turn scores into a loss."""
        if self._calls and self.watch.step < 2:
            found = list(nodes)
            for node in found:  # which grows
                for below in (one for one, _ in node.next_functions if one is not None and len(found) < _NEAR):
                    call, number = below.metadata.get(_CALL_KEY), node.metadata.get(PLACE_KEY)
                    if call is not None and number is not None:
                        self._lines.setdefault(call.place, self.watch.place_of(number))
                    found.append(below)

    def step_ends(self) -> None:
        """Judge the calls since the last step."""
        if self.watch.step < _STEPS and self._calls:
            held = self.stepped()
            pushed = [(call, push) for call in self._calls if (push := _push(call)) is not None]
            own = [one for one in pushed if _has(held, one[0])]
            if own:
                self._before = [one for one in own if not one[0].of_graph]
            else:
                self._judge([one for one in pushed if one[0].of_graph])
        elif self.watch.step >= _STEPS:
            self._before.clear()
        self._calls.clear()
        if not self._before:
            self._made.clear()

    def forget(self) -> None:
        """Let go of all tensors."""
        self._given = None
        self._calls.clear()
        self._made.clear()
        self._before.clear()

    def _judge(self, pushed: list[tuple[_Scored, Push]]) -> None:
        if {"from 0", "from 1"} <= {push for _, push in pushed}:
            return  # two kinds of data are to become one
        for call, push in pushed:
            rivals = [one for one in self._before if one[0].module() is call.module()]
            if not rivals or len(self.watch.facts.adversaries) >= _MAX_FOUND:
                continue
            made = [call.mark, *(one for module, one in self._made if module != id(call.module()))]
            fakes = {other for rival, other in rivals if any(torch.equal(rival.mark, one) for one in made)}
            helps = push in ("to 0", "to 1") and fakes == {push}
            if helps or push in ("from 0", "from 1"):
                self.watch.facts.adversaries.append(Adversary(
                    step=self.watch.step, place=self._line_of(call), discriminator=call.name, push=push, helps=helps,
                ))  # fmt: skip

    def _line_of(self, call: _Scored) -> Place:
        """Return the line that makes a loss of scores; that of the call if it does so of those of other calls, too."""
        line = self._lines.get(call.place, call.place)
        others = [other for at, other in self._lines.items() if at != call.place]
        return call.place if line in others else line


def _has(parameters: frozenset[int], call: _Scored) -> bool:
    module = call.module()
    return module is not None and any(id(p) in parameters for p in module.parameters())


def _mark(tensor: torch.Tensor) -> torch.Tensor:
    """Return two numbers by which the same values are known again."""
    values = tensor.detach().reshape(-1)[:4096].double()
    return torch.stack([values.sum(), values @ torch.arange(values.numel(), dtype=values.dtype, device=values.device)])


def _push(call: _Scored) -> Push | None:
    """Say what the loss of a call is, by the law that its gradient follows; None for any other."""
    if len(call.gradients) != 1 or call.gradients[0].shape != call.scores.shape:
        return None
    scores, gradient = call.scores.double().flatten(), call.gradients[0].double().flatten()
    down = bool((gradient > 0).all())
    if not down and not bool((gradient < 0).all()):
        return None
    size = gradient.abs()
    laws = [(size / torch.sigmoid(scores), 0), (size / torch.sigmoid(-scores), 1)]
    if bool(((scores > 0) & (scores < 1)).all()):  # probabilities, perhaps: slopes of 1 / (1 - p), 1 / p
        laws += [(size * (1 - scores), 0), (size * scores, 1)]
    spreads = sorted((float(one.std() / one.mean()), label) for one, label in laws)
    if spreads[1][0] < _VARIES or spreads[0][0] > _EXACT * spreads[1][0]:
        return None
    if spreads[0][1] == 0:
        return "to 0" if down else "from 0"
    return "from 1" if down else "to 1"
