"""What PyTorch of 2020 kept in memory that PyTorch of today does not, and apex's half precision.

Published rows of that time (containers NGC 20.01 and 20.10, PyTorch 1.4 to 1.7) can only be rehearsed with its habits:

- softmax and log-softmax kept their input for the backward pass as well as their result, until PyTorch 1.11
  (pytorch/pytorch#64000, #65242); ReLU kept its input, not its result (pytorch/pytorch#63027);
- what a function compiled by TorchScript keeps for its backward pass was released only with the graph itself, so it
  outlives the step and meets the next forward pass (pytorch/pytorch#42994);
- autograd watched cuDNN's convolution below the call that makes inputs contiguous (``at::_convolution`` of one
  dimension), so that copy is kept, for each convolution that reads a transposed tensor;
- ``zero_grad`` wrote zeros, so gradients live from the first step on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Precision = Literal["fp32", "O1", "O2"]
_aten = torch.ops.aten


class _Softmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, is_log: bool, to_float: bool) -> Tensor:
        y: Tensor = (_aten._log_softmax if is_log else _aten._softmax)(x, dim, to_float)
        ctx.save_for_backward(x, y)
        ctx.rest = dim, is_log
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        x, y = ctx.saved_tensors
        dim, is_log = ctx.rest
        backward = _aten._log_softmax_backward_data if is_log else _aten._softmax_backward_data
        return backward(grad, y, dim, x.dtype), None, None, None


def softmax(x: Tensor, dim: int) -> Tensor:
    """Softmax that keeps its input, in float32 under autocast and under apex's O1."""
    if torch.is_autocast_enabled("cuda"):
        x = x.float()
    found: Tensor = _Softmax.apply(x, dim, False, False)  # type: ignore[no-untyped-call]
    return found


def log_softmax(x: Tensor, dim: int, *, to_float: bool = False) -> Tensor:
    """Log-softmax that keeps its input; ``to_float`` makes a float32 result of float16 in the same kernel."""
    found: Tensor = _Softmax.apply(x, dim, True, to_float and x.dtype is torch.float16)  # type: ignore[no-untyped-call]
    return found


class _Relu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.relu(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return _aten.threshold_backward(grad, ctx.saved_tensors[0], 0)


def relu(x: Tensor) -> Tensor:
    """ReLU, not in place, that keeps its input."""
    found: Tensor = _Relu.apply(x)  # type: ignore[no-untyped-call]
    return found


@contextmanager
def in_place_of_functional() -> Iterator[None]:
    """Let ``torch.nn.functional``'s ReLU and softmax keep their inputs, for models that are written with them."""
    before = F.relu, F.softmax
    F.relu, F.softmax = relu, softmax  # type: ignore[assignment]
    try:
        yield
    finally:
        F.relu, F.softmax = before


class _Gate(torch.autograd.Function):
    """tanh of one half of the channels times sigmoid of the other, compiled: what it keeps dies with the graph."""

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor, width: int) -> Tensor:
        both = one + other
        size = (one.shape[0], width, one.shape[2])
        ctx.kept = both.new_empty(size), both.new_empty(size)  # not ``save_for_backward``: never released by autograd
        return both.new_empty(size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        halves = [torch.empty_like(grad) for _ in ctx.kept]
        padded = [torch.zeros(grad.shape[0], 2 * grad.shape[1], grad.shape[2], device=grad.device, dtype=grad.dtype)
                  for _ in halves]  # fmt: skip
        both = padded[0] + padded[1]
        return both, both, None


def gate(one: Tensor, other: Tensor, width: int) -> Tensor:
    """WaveGlow's gate."""
    found: Tensor = _Gate.apply(one, other, width)  # type: ignore[no-untyped-call]
    return found


class Trainer:
    """Parameters, gradients and optimizer as a training loop of 2020 has them.

    ``O2`` is apex's: the model in float16, weights of the optimizer in float32, whose gradients are made anew in every
    step. ``O1`` casts in the functions, as torch.autocast does.
    """

    def __init__(
        self, module: nn.Module, optimizer: Callable[[Iterable[nn.Parameter]], Any], *, precision: Precision
    ) -> None:
        self.precision = precision
        if precision == "O2":
            module.half()
        self.model = list(module.parameters())
        self.masters = [nn.Parameter(p.detach().float()) for p in self.model] if precision == "O2" else self.model
        self.optimizer = optimizer(self.masters)

    def zero_grad(self, *, keep: bool = True) -> None:
        """Write zeros into gradients, or drop them."""
        for p in self.model:
            if not keep:
                p.grad = None
            elif p.grad is not None:
                p.grad.zero_()
        if self.precision == "O2":
            for p in self.masters:
                p.grad = None

    def backward(self, loss: Tensor) -> None:
        """Run the backward pass of the scaled loss, and copy gradients to the optimizer's weights."""
        (loss if self.precision == "fp32" else loss.float() * 1024.0).backward()
        if self.precision == "O2":
            for master, p in zip(self.masters, self.model, strict=True):
                if p.grad is not None:
                    master.grad = torch.empty_like(master)
                    master.grad.copy_(p.grad)

    def step(self) -> None:
        """Clip, step, and copy the weights back."""
        for p in self.masters:
            if p.grad is not None:
                p.grad.norm()
        self.optimizer.step()
        if self.precision == "O2":
            for master, p in zip(self.masters, self.model, strict=True):
                p.data.copy_(master.data)

    def autocast(self) -> torch.autocast:
        """Return the context in which the forward pass runs."""
        return torch.autocast("cuda", dtype=torch.float16, enabled=self.precision == "O1")


def adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Adam, one tensor after the other, as PyTorch had it."""
    return torch.optim.Adam(parameters, lr=0.0, foreach=False)


def fused_adam(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """apex's FusedAdam: no temporaries."""
    return torch.optim.Adam(parameters, lr=0.0, fused=True)


class JitLamb(torch.optim.Optimizer):
    """LAMB compiled by TorchScript: for each tensor new momenta, an update and new weights, and then the old go."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["first"], state["second"] = torch.zeros_like(p), torch.zeros_like(p)
                first, second, update = (torch.empty_like(p) for _ in range(3))
                p.norm()
                update.norm()
                p.data = torch.empty_like(p)
                state["first"], state["second"] = first, second
