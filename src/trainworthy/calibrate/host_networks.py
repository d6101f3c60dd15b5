"""The host's costs by operation, held against whole networks while a GPU is measured.

Chains of one layer (`host_gpu`) tell operations apart, but take about half of what the same operations take in a
network. Small networks are trained for a few steps now and then during a calibration; the costs that a chain says are
moved, each as little as it can be, until the networks take what they took.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainworthy.calibrate.networks_gpu import Network, networks
from trainworthy.estimate.host_costs import host_key, host_units

ONCE = "once"
"""What a phase costs whatever its operations: entering the engine, an optimizer's own code."""
_PHASES = ("forward", "backward", "optimizer")

_WARM_STEPS = 3
_STEPS = 3  # in a row, the first of which finds the processor's caches full of something else
_STAY = 0.15  # weight of the costs that chains say, against one network's phase
_BOUNDS = (0.25, 4.0)  # around the common factor; beyond, an operation was mistaken for another

Counts = Mapping[str, float]


class Equation(NamedTuple):
    """How often each operation (``phase/name``) was issued, and the seconds of all of them."""

    counts: Counts
    seconds: float


class HostNetworks:
    """The networks on their device, and how long the host took for the steps seen so far."""

    def __init__(self, *, device: str) -> None:
        with torch.enable_grad():
            self._steps = [_Step(network, device=device) for network in networks()]

    def sample(self) -> None:
        """Train every network for a few steps."""
        with torch.enable_grad():
            for step in self._steps:
                step.sample()

    def equations(self) -> list[Equation]:
        """Return one for each phase of each network, by the median of all steps."""
        return [equation for step in self._steps for equation in step.equations()]


class _Step:
    """A training step of one network, and the stamps of those that were taken."""

    def __init__(self, network: Network, *, device: str) -> None:
        self.name = network.name
        self._device = device
        self._low = network.low_precision
        self._model: nn.Module = network.build().to(device)
        tokens = len(network.shape) == 2
        self._x = torch.randint(100, network.shape, device=device) if tokens else torch.randn(network.shape).to(device)
        self._optimizer = network.optimizer(self._model.parameters())
        self._stamps: list[tuple[float, float, float]] = []
        for _ in range(_WARM_STEPS):
            self._run()
        self._counts = self._count()

    def _loss(self) -> Tensor:
        kind = torch.device(self._device).type
        low: Any = torch.autocast(kind, torch.bfloat16) if self._low else nullcontext()
        with low:
            y: Tensor = self._model(self._x)
            return torch.nn.functional.cross_entropy(y, torch.zeros(y.shape[0], dtype=torch.long, device=y.device))

    def _update(self) -> None:
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _run(self) -> tuple[float, float, float]:
        if torch.device(self._device).type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        loss = self._loss()
        forward = time.perf_counter()
        loss.backward()
        backward = time.perf_counter()
        self._update()
        return forward - start, backward - forward, time.perf_counter() - backward

    def sample(self) -> None:
        self._stamps += [self._run() for _ in range(_STEPS)][1:]

    def _count(self) -> tuple[Counts, ...]:
        from trainworthy.tape.recorder import Recorder

        with Recorder() as recorder:
            marks = [0]
            loss = self._loss()
            marks.append(len(recorder.ops))
            loss.backward()
            marks.append(len(recorder.ops))
            self._update()
        marks.append(len(recorder.ops))
        counts = []
        for place, phase in enumerate(_PHASES):
            found: Counter[str] = Counter({f"{phase}/{ONCE}": 1} if place else {})
            for op in recorder.ops[marks[place] : marks[place + 1]]:
                signature = recorder.signatures[op.signature]
                found[f"{phase}/{host_key(signature)}"] += host_units(signature)
            counts.append(dict(found))
        return tuple(counts)

    def equations(self) -> list[Equation]:
        return [
            Equation(counts, median(stamp[place] for stamp in self._stamps))
            for place, counts in enumerate(self._counts if self._stamps else ())
        ]


def held_to_networks(costs: Mapping[str, float], equations: Sequence[Equation]) -> dict[str, float]:
    """Return the costs that explain what networks took with the least change of ``costs``, in proportion.

    First all costs of a phase are taken times the median of what its networks took over the sum of their operations,
    then each is moved (ridge regression towards 1, every equation with the same weight).

    Args:
        costs: Seconds of an operation by ``phase/name``; what is not there is taken for the median of its phase.
        equations: What networks took.
    """
    if not equations:
        return dict(costs)
    prior = dict(costs)
    for phase in _PHASES:
        known = [s for name, s in costs.items() if name.startswith(f"{phase}/") and not name.endswith(f"/{ONCE}")]
        own = [e for e in equations if any(name.startswith(f"{phase}/") for name in e.counts)]
        for name in {name for e in own for name in e.counts} - prior.keys():
            prior[name] = median(known) if known else 1e-5
        if not own:
            continue
        factor = median(e.seconds / sum(prior[name] * n for name, n in e.counts.items()) for e in own)
        prior |= {name: prior[name] * factor for name in prior if name.startswith(f"{phase}/")}
    names = sorted({name for e in equations for name in e.counts})
    rows = [[e.counts.get(name, 0.0) * prior[name] / e.seconds for name in names] for e in equations]
    rows += [[_STAY * (other == place) for other in range(len(names))] for place in range(len(names))]
    right = [1.0] * len(equations) + [_STAY] * len(names)
    solution = torch.linalg.lstsq(
        torch.tensor(rows, dtype=torch.float64), torch.tensor(right, dtype=torch.float64).unsqueeze(1)
    ).solution.flatten()
    low, high = _BOUNDS
    moved = {name: prior[name] * min(max(x, low), high) for name, x in zip(names, solution.tolist(), strict=True)}
    return {**prior, **moved}
