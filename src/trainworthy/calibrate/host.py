"""What a CPU spends beside its kernels: tiny networks of several depths are trained; the slope is an operation's.

Everything in these networks is so small that kernels cost their fixed part only. From the time of a phase we take what
the curves say its operations cost, and divide the rest by their number; depth separates what each operation costs from
what each step costs once.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from math import inf
from statistics import median
from typing import NamedTuple

import torch
from torch import nn

from trainworthy.calibrate.timing import involuntary_switches
from trainworthy.estimate.host_costs import LOOP
from trainworthy.estimate.machine import Machine
from trainworthy.estimate.measured_kernels import kernel_time
from trainworthy.estimate.op_classes import op_class
from trainworthy.hardware.calibration import HostCosts

_DEPTHS = (1, 20)
_REPEATS = 60  # of a step, or as many as there is time for
_FEWEST = 4


class _Phases(NamedTuple):
    """Seconds, or operations, of the three parts of a step."""

    forward: float
    backward: float
    optimizer: float


def cpu_host_costs(*, machine: Machine, budget_s: float = inf) -> HostCosts:
    """Measure what Python and autograd add to an operation in each phase, in about ``budget_s``."""
    slopes: list[_Phases] = []
    constants: list[float] = []
    view_s = _view_s()
    kinds = list(itertools.product((_linear_net, _conv_net, _norm_net), (_sgd, _adamw)))
    share_s = budget_s / (len(kinds) + 1)
    for build, optimizer in kinds:
        slope, constant = _net_costs(build, optimizer, machine=machine, view_s=view_s, budget_s=share_s)
        slopes.append(slope)
        constants.append(constant)
    loop, _ = _net_costs(_recurrent_net, _sgd, machine=machine, view_s=view_s, budget_s=share_s)
    return HostCosts(
        forward_op_s=median(s.forward for s in slopes),
        backward_op_s=median(s.backward for s in slopes),
        optimizer_op_s=median(s.optimizer for s in slopes),
        view_s=view_s,
        step_s=max(median(constants), 0.0),
        by_op={f"forward/{LOOP}": loop.forward, f"backward/{LOOP}": loop.backward},
    )


def _sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1e-4, momentum=0.9)


def _adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-4)


def _linear_net(depth: int) -> tuple[nn.Module, torch.Tensor]:
    layers = [layer for _ in range(depth) for layer in (nn.Linear(8, 8), nn.ReLU())]
    return nn.Sequential(*layers), torch.randn(4, 8)


def _conv_net(depth: int) -> tuple[nn.Module, torch.Tensor]:
    layers = [layer for _ in range(depth) for layer in (nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())]
    return nn.Sequential(*layers), torch.randn(2, 4, 4, 4)


class _Block(nn.Module):
    """A residual block with views, as transformers have them."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = self.norm(x).view(2, 4, 2, 4).transpose(1, 2)
        y: torch.Tensor = self.down(torch.tanh(self.up(heads.transpose(1, 2).reshape(2, 4, 8))))
        return x + y


def _norm_net(depth: int) -> tuple[nn.Module, torch.Tensor]:
    return nn.Sequential(*[_Block() for _ in range(depth)]), torch.randn(2, 4, 8)


class _Gru(nn.GRU):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x)[0]


def _recurrent_net(depth: int) -> tuple[nn.Module, torch.Tensor]:
    return _Gru(8, 8), torch.randn(depth, 4, 8)


def _net_costs(
    build: Callable[[int], tuple[nn.Module, torch.Tensor]], make: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    *, machine: Machine, view_s: float, budget_s: float,
) -> tuple[_Phases, float]:  # fmt: skip
    """Return seconds an operation in each phase, and what a step costs whatever its depth."""
    rests, counts = [], []
    for depth in _DEPTHS:
        model, x = build(depth)
        optimizer = make(list(model.parameters()))
        times = _phase_times(model, x, optimizer, budget_s=budget_s * depth / sum(_DEPTHS))
        kernels, count = _kernels(model, x, optimizer, machine=machine, view_s=view_s)
        rests.append(_Phases(*(t - k for t, k in zip(times, kernels, strict=True))))
        counts.append(count)
    slope = _Phases(*(
        (rests[1][i] - rests[0][i]) / max(counts[1][i] - counts[0][i], 1.0) for i in range(3)
    ))  # fmt: skip
    constant = sum(rests[0][i] - slope[i] * counts[0][i] for i in range(3))
    return slope, constant


def _phase_times(model: nn.Module, x: torch.Tensor, optimizer: torch.optim.Optimizer, *, budget_s: float) -> _Phases:
    """Return medians of the steps after warm-up; those that another process interrupted only count if all were."""
    stamps: list[tuple[bool, _Phases]] = []
    end = time.perf_counter() + budget_s
    while len(stamps) < _FEWEST or (len(stamps) < _REPEATS and time.perf_counter() < end):
        switches, start = involuntary_switches(), time.perf_counter()
        optimizer.zero_grad()
        loss = model(x).mean()
        forward = time.perf_counter()
        loss.backward()
        backward = time.perf_counter()
        optimizer.step()
        phases = _Phases(forward - start, backward - forward, time.perf_counter() - backward)
        stamps.append((involuntary_switches() == switches, phases))
    kept = stamps[len(stamps) // 4 :]
    quiet = [phases for undisturbed, phases in kept if undisturbed] or [phases for _, phases in kept]
    return _Phases(*(median(s[i] for s in quiet) for i in range(3)))


def _kernels(
    model: nn.Module, x: torch.Tensor, optimizer: torch.optim.Optimizer, *, machine: Machine, view_s: float
) -> tuple[_Phases, _Phases]:
    """Return what the operations of each phase cost by their curves, and how many there are that are no views."""
    from trainworthy.tape.recorder import Recorder

    with Recorder() as recorder:
        optimizer.zero_grad()
        marks = [0]
        loss = model(x).mean()
        marks.append(len(recorder.ops))
        loss.backward()
        marks.append(len(recorder.ops))
        optimizer.step()
        marks.append(len(recorder.ops))
    known: dict[int, float] = {}
    costs, counts = [], []
    for begin, end in itertools.pairwise(marks):
        numbers = [op.signature for op in recorder.ops[begin:end]]
        working = [n for n in numbers if op_class(recorder.signatures[n].name) != "view"]
        for n in {*working} - {*known}:
            known[n] = kernel_time(recorder.signatures[n], machine=machine).total_s
        kernels = sum(known[n] for n in working)
        costs.append(kernels + view_s * (len(numbers) - len(working)))
        counts.append(float(len(working)))
    return _Phases(*costs), _Phases(*counts)


def _view_s() -> float:
    """Time views as autograd records them, less than half of which Python calls."""
    x = torch.randn(4, 4, requires_grad=True)
    samples = []
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(200):
            x.detach()
        samples.append((time.perf_counter() - start) / 200)
    return median(samples)
