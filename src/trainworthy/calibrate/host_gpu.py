"""What the host of a GPU spends to issue an operation: chains of one layer are run, and never waited for.

Each layer of a chain runs a few operations forward and a few backward, which a tape names; between a short chain and a
long one only their number differs, so the difference in time belongs to them. Many chains share operations: the cost
of each is what explains all of them best (least squares, held near the mean where chains say little).

What is measured includes all that a network's training has: the module's call, autograd's record, the dispatcher, the
allocator, and as many launches as the operation needs. A chain does the same again and again, though, and what a
processor has just done it does fastest: 35 networks on an H100 took their hosts about twice what their chains say. So
these costs are then held to what small networks took (`host_networks`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from statistics import fmean, median
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainworthy.calibrate.host_networks import ONCE, Counts, Equation, held_to_networks
from trainworthy.estimate.host_costs import host_key, host_units
from trainworthy.hardware.calibration import HostCosts

_LENGTHS = (6, 24)
_REPEATS = 7
_TENSORS = (8, 72)  # of an optimizer
_NEAR_MEAN = 0.04  # weight of the mean against one operation of a chain's link


class _Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class _First(nn.Module):
    """The first result of a module."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.module(x)[0]
        return first


class _Chain(NamedTuple):
    """A layer that is repeated, what it is given, and whether autocast is on."""

    layer: Callable[[], nn.Module]
    shape: tuple[int, ...]
    low_precision: bool = False


_IMAGE, _ROWS, _HEADS = (4, 32, 28, 28), (8, 32, 64), (4, 4, 32, 32)


def _chains() -> Iterator[_Chain]:
    """Yield layers of networks, small enough that no kernel takes longer than its launch."""
    for low in (False, True):
        yield _Chain(lambda: nn.Linear(64, 64), _ROWS, low)
        yield _Chain(lambda: nn.Conv2d(32, 32, 3, padding=1, bias=False), _IMAGE, low)
        yield _Chain(lambda: nn.Conv2d(32, 32, 1), _IMAGE, low)
        yield _Chain(lambda: nn.Conv2d(32, 32, 3, padding=1, groups=32), _IMAGE, low)
        yield _Chain(lambda: _Call(lambda x: F.scaled_dot_product_attention(x, x, x)), _HEADS, low)
        yield _Chain(lambda: _Call(lambda x: x @ x), _HEADS, low)
        yield _Chain(lambda: nn.LayerNorm(64), _ROWS, low)
    yield _Chain(lambda: nn.BatchNorm2d(32), _IMAGE)
    yield _Chain(nn.ReLU, _ROWS)
    yield _Chain(nn.GELU, _ROWS)
    yield _Chain(nn.SiLU, _ROWS)
    yield _Chain(lambda: nn.Softmax(-1), _ROWS)
    yield _Chain(lambda: nn.Dropout(0.1), _ROWS)
    yield _Chain(lambda: nn.MaxPool2d(3, 1, 1), _IMAGE)
    yield _Chain(lambda: _Call(lambda x: x + x), _ROWS)
    yield _Chain(lambda: _Call(lambda x: x.clone().add_(1.0)), _ROWS)
    yield _Chain(lambda: _Call(lambda x: x * x.mean(-1, keepdim=True)), _ROWS)
    yield _Chain(lambda: _Call(lambda x: torch.cat(x.chunk(2, -1)[::-1], -1)), _ROWS)
    yield _Chain(lambda: _Call(lambda x: x.transpose(0, 1).transpose(0, 1)), _ROWS)
    yield _Chain(lambda: _Call(lambda x: x.view(8, 32, 4, 16).transpose(1, 2).transpose(1, 2).view(8, 32, 64)), _ROWS)
    yield _Chain(lambda: _Call(lambda x: x.to(torch.bfloat16).to(torch.float32)), _ROWS)
    for kind in (nn.LSTM, nn.GRU):  # 32 time steps, each of which launches kernels
        yield _Chain(lambda kind=kind: _First(kind(64, 64)), (32, 8, 64))  # type: ignore[misc]


class _Seen(NamedTuple):
    """Seconds of a chain's forward and backward pass, and what ran in each."""

    forward_s: float
    backward_s: float
    forward: Counts
    backward: Counts


def gpu_host_costs(networks: Sequence[Equation] = (), *, device: str = "cuda") -> HostCosts:
    """Measure what the host spends on operations by phase and name, and once a step. Takes about three seconds.

    Args:
        networks: What networks took, to which the costs are held.
        device: Of the chains.
    """
    equations: list[Equation] = []
    constants: list[float] = []
    for chain in _chains():
        short, long = (_chain_costs(chain, length, device=device) for length in _LENGTHS)
        for phase in ("forward", "backward"):
            less, more = getattr(short, phase), getattr(long, phase)
            counts = {f"{phase}/{key}": more[key] - less.get(key, 0) for key in more if more[key] > less.get(key, 0)}
            seconds = getattr(long, f"{phase}_s") - getattr(short, f"{phase}_s")
            equations.append(Equation(counts, seconds))
        links = _LENGTHS[1] / _LENGTHS[0] - 1
        total = short.forward_s + short.backward_s
        constants.append(total - (long.forward_s + long.backward_s - total) / links)
    optimizers, optimizer_s = _optimizer_costs(device)
    once = {f"backward/{ONCE}": max(median(constants), 0.0), f"optimizer/{ONCE}": optimizer_s}
    by_op = held_to_networks({**solve(equations), **optimizers, **once}, networks)
    step_s = sum(by_op.pop(name) for name in once)
    forward_s, backward_s = (median(_costs_of(by_op, phase)) for phase in ("forward", "backward"))
    return HostCosts(
        forward_op_s=forward_s,
        backward_op_s=backward_s,
        optimizer_op_s=forward_s,
        view_s=fmean(by_op.get(f"{phase}/view", 0.0) for phase in ("forward", "backward")),
        step_s=step_s,
        by_op=by_op,
    )


def solve(equations: Sequence[Equation]) -> dict[str, float]:
    """Return the seconds of each operation that explain the times of all chains best; none below a twentieth.

    Args:
        equations: How often each operation ran, and the seconds of all of them.
    """
    names = sorted({name for counts, _ in equations for name in counts})
    means = {}
    for phase in {name.split("/")[0] for name in names}:
        own = [(sum(c.values()), seconds) for c, seconds in equations if any(n.startswith(phase) for n in c)]
        means[phase] = sum(seconds for _, seconds in own) / max(sum(count for count, _ in own), 1.0)
    rows, right = [], []
    for counts, seconds in equations:
        size = max(sum(counts.values()), 1.0)
        rows.append([counts.get(name, 0.0) / size for name in names])
        right.append(seconds / size)
    for place, name in enumerate(names):
        rows.append([_NEAR_MEAN * (other == place) for other in range(len(names))])
        right.append(_NEAR_MEAN * means[name.split("/")[0]])
    solution = torch.linalg.lstsq(
        torch.tensor(rows, dtype=torch.float64), torch.tensor(right, dtype=torch.float64).unsqueeze(1)
    ).solution.flatten()
    return {
        name: max(float(seconds), means[name.split("/")[0]] / 20)
        for name, seconds in zip(names, solution.tolist(), strict=True)
    }


def _costs_of(by_op: Mapping[str, float], phase: str) -> list[float]:
    """Return the costs of a phase's operations that are no views."""
    return [seconds for key, seconds in by_op.items() if key.startswith(f"{phase}/") and not key.endswith("/view")]


def _chain_costs(chain: _Chain, length: int, *, device: str) -> _Seen:
    net = nn.Sequential(*(chain.layer() for _ in range(length))).to(device)
    x = torch.randn(chain.shape, device=device, requires_grad=True)
    low: Any = torch.autocast(torch.device(device).type, torch.bfloat16) if chain.low_precision else nullcontext()
    stamps: list[tuple[float, float]] = []
    for _ in range(_REPEATS + 2):
        _wait(device)
        start = time.perf_counter()
        with low:
            y = net(x)
        ready = time.perf_counter()
        grad = torch.ones_like(y)
        _wait(device)
        begin = time.perf_counter()
        y.backward(grad)
        stamps.append((ready - start, time.perf_counter() - begin))
        for each in (x, *net.parameters()):
            each.grad = None
    forward, backward = (median(each[part] for each in stamps[2:]) for part in (0, 1))
    return _Seen(forward, backward, *_counts(net, x, low))


def _counts(net: nn.Module, x: Tensor, low: Any) -> tuple[Counts, Counts]:
    from trainworthy.tape.recorder import Recorder

    with Recorder() as recorder:
        with low:
            y = net(x)
        middle = len(recorder.ops)
        y.backward(torch.ones_like(y))
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for place, op in enumerate(recorder.ops):
        signature = recorder.signatures[op.signature]
        counts[place >= middle][host_key(signature)] += host_units(signature)
    return counts


def _optimizer_costs(device: str) -> tuple[dict[str, float], float]:
    """Return seconds for each tensor that an optimizer's kernel is given, and what a step of an optimizer costs."""
    slopes: dict[str, list[float]] = {}
    constants = []
    for fused, make in (
        (False, lambda ps: torch.optim.SGD(ps, lr=1e-4, momentum=0.9, weight_decay=1e-4)),
        (False, lambda ps: torch.optim.AdamW(ps, lr=1e-4)),
        (True, lambda ps: torch.optim.AdamW(ps, lr=1e-4, fused=True)),
    ):
        (few_s, few), (many_s, many) = (_optimizer_step(make, number, device=device) for number in _TENSORS)
        slope = max((many_s - few_s) / max(many - few, 1), many_s / many / 20)
        slopes.setdefault("fused" if fused else "foreach", []).append(slope)
        constants.append(max(few_s - slope * few, 0.0))
    return {f"optimizer/{kind}": fmean(found) for kind, found in slopes.items()}, median(constants)


def _optimizer_step(
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer], number: int, *, device: str
) -> tuple[float, int]:
    """Return the median time of a step, zeroing included, and how many tensors its kernels were given."""
    from trainworthy.tape.recorder import Recorder

    parameters = [nn.Parameter(torch.randn(16, device=device)) for _ in range(number)]
    optimizer = make(parameters)
    times = []
    for _ in range(_REPEATS + 2):
        for each in parameters:
            each.grad = torch.ones_like(each)
        _wait(device)
        start = time.perf_counter()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - start)
    for each in parameters:
        each.grad = torch.ones_like(each)
    with Recorder() as recorder:
        optimizer.step()
    given = sum(host_units(recorder.signatures[op.signature]) for op in recorder.ops)
    return median(times[2:]), given


def _wait(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()
