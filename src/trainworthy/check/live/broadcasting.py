"""Operands that stretch each other, as the forward pass makes them."""

from __future__ import annotations

import linecache
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainworthy.check.live.facts_steps import Broadcast
from trainworthy.check.live.watch import Watch, operation_of, plain
from trainworthy.formulas.broadcast import doubly_expanded

# A column that one of these made is meant to be one: what meets a row through it is a table of pairs.
_WRITTEN = frozenset("Unsqueeze View UnsafeView ReshapeAlias Slice Expand T Transpose Permute Index".split())
_KEPT = frozenset(
    "Select Sum Mean Norm LinalgVectorNorm Amax Amin Max Min Logsumexp Diagonal Cat Stack".split()
)  # what keeps an axis on purpose if it meets the row at once
ELEMENTWISE = frozenset("Add Sub Rsub Mul Div Neg Exp Log Pow Clone Sigmoid Tanh Relu ToCopy".split())
_MAX_ELEMENTWISE = 6
_SUMS = frozenset("add sub rsub subtract radd mse_loss l1_loss smooth_l1_loss huber_loss".split())
_MAX_TABLES = 64


@dataclass(frozen=True, slots=True)
class _Table:
    """What a column and a row of data gave; kept until the step ends, as it may meet what a model says."""

    tensor: torch.Tensor
    fact: Broadcast


class BroadcastWatch:
    """Tells tables of pairs that are meant from those that came of shapes that do not match."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.batch: int | None = None
        self.is_paired = False  # predictions and data, one number for each sample, met in an operation
        self._tables: dict[int, _Table] = {}

    def forget(self) -> None:
        """Let go of what belongs to a step that is over."""
        self._tables.clear()

    def see(
        self, name: str, args: tuple[Any, ...], out: torch.Tensor, source: int, *, is_loss: bool = False,
        is_compare: bool = False,
    ) -> None:  # fmt: skip
        """Look at one operation on two tensors."""
        if len(args) < 2 or not isinstance(args[0], torch.Tensor) or not isinstance(args[1], torch.Tensor):
            return
        a, b = args[0], args[1]
        if a.dim() == b.dim() == 1 and a.shape[0] == b.shape[0] == self.batch and a.requires_grad != b.requires_grad:
            self.is_paired = True
        if self._tables and not is_compare:
            self._follow(name.strip("_"), a, b, out)
        if a.dim() == b.dim():
            return
        shapes = (tuple(a.shape), tuple(b.shape))
        result = doubly_expanded(*shapes)
        batch = self.batch if self.batch is not None or result is None else _met_with_itself(shapes, result)
        if result is None or batch is None or batch < 2 or result.count(batch) < 2:
            return
        if any(batch not in shape for shape in shapes):
            return
        if self.batch is None and not is_loss and a.requires_grad == b.requires_grad:
            return  # without a module, only what parameters gave is known to be a prediction
        column = a if a.dim() > b.dim() else b
        if column.dim() >= 4 and column.numel() != batch:  # one number for each of several axes, and not by sample
            return
        if is_compare and (a.numel() == 0 or shares_storage(a, b) or self._says_so(source)):
            return
        if not is_loss and (_is_parameter(a) or _is_parameter(b)):
            return
        fact = Broadcast(
            step=self.watch.step, place=self.watch.place_of(source), op=name.strip("_"), shapes=shapes, result=result,
            batch=batch, is_loss=is_loss, is_compare=is_compare,
        )  # fmt: skip
        if is_loss or is_compare or a.requires_grad != b.requires_grad or self._unmeant(a, b):
            self.watch.facts.broadcasts.append(fact)
        elif not a.requires_grad and out.dim() == 2 and len(self._tables) < _MAX_TABLES:
            self._tables[id(out)] = _Table(out, fact)

    def _says_so(self, source: int) -> bool:
        """Tell whether a line writes the column as one; without gradients, no graph tells."""
        place = self.watch.finder.sources[source]
        line = linecache.getline(str(self.watch.finder.base / place.path), place.line)
        return any(word in line for word in ("None", "unsqueeze", "newaxis"))

    def _unmeant(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        """Tell whether both sides are the model's, and nobody wrote the column as one."""
        column = a if a.dim() > b.dim() else b
        node = column.grad_fn
        if not a.requires_grad or node is None or column.dim() != 2 or shares_storage(a, b):
            return False
        if operation_of(node) in _KEPT:
            return False
        for _ in range(_MAX_ELEMENTWISE):
            if node is None or operation_of(node) in _WRITTEN:
                return node is None
            if operation_of(node) not in ELEMENTWISE:
                return True
            node = next((one for one, _ in node.next_functions if one is not None), None)
        return False

    def _follow(self, name: str, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
        """Follow a table of data until it meets one number for each sample that a model said."""
        table = self._tables.get(id(a)) or self._tables.get(id(b))
        if table is None:
            return
        other = b if id(a) in self._tables else a
        size = table.fact.batch
        if other.requires_grad and tuple(other.shape) in ((size,), (size, 1)):
            if name in _SUMS and not _is_parameter(other):
                self.watch.facts.broadcasts.append(table.fact)
        elif not other.requires_grad and out.shape == table.tensor.shape and len(self._tables) < _MAX_TABLES:
            self._tables[id(out)] = _Table(out, table.fact)


def _met_with_itself(shapes: tuple[tuple[int, ...], tuple[int, ...]], result: tuple[int, ...]) -> int | None:
    """Return the size that both operands have and the result has twice: the batch, where no module was given one."""
    return next((n for n in shapes[0] if n in shapes[1] and result.count(n) >= 2), None)


def _is_parameter(tensor: torch.Tensor) -> bool:
    """Tell whether it is a parameter, or one by element: its size has nothing to do with the batch."""
    node: Any = tensor.grad_fn
    variable: torch.Tensor | None = tensor
    for _ in range(_MAX_ELEMENTWISE):
        if node is None or operation_of(node) not in ELEMENTWISE:
            break
        node = next((one for one, _ in node.next_functions if one is not None), None)
    if node is not None:
        variable = getattr(node, "variable", None)  # of an AccumulateGrad
    return isinstance(variable, nn.Parameter) and variable.shape == tensor.shape


def shares_storage(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Tell whether two tensors are views of the same memory."""
    if not plain(a) or not plain(b):
        return True
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()
