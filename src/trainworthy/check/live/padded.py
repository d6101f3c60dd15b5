"""Targets that are padding where the input is, and count in the loss all the same.

Two ways lead to a loss of classes: torch's own functions, and picking the targets' log-probabilities with ``gather``.
The index that ``gather`` is given lies in the metadata of its node, and dies with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from trainworthy.check.live.facts_seldom import PaddedTargets
from trainworthy.check.live.masks import may_be_padding
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.terms import terms_of
from trainworthy.check.live.watch import Watch, operation_of

_STEPS, _MAX_FOUND = 4, 16
_LEAST, _LEAST_SHARE = 4, 0.05  # positions; of them all
_INDEX_KEY = "trainworthy.index"
_SHOWN = ("Neg", "Squeeze", "Unsqueeze", "View", "UnsafeView", "Transpose", "T", "Clone")
_DEPTH = 8


class PaddedWatch:
    """Compares targets with the tokens that the model was given."""

    def __init__(self, watch: Watch, operators: OperatorWatch) -> None:
        self.watch = watch
        self.operators = operators

    def gathered(self, args: tuple[Any, ...], out: torch.Tensor, source: int) -> None:
        """Remember what was picked from log-probabilities."""
        node: Any = out.grad_fn
        if self.watch.step < _STEPS and node is not None and len(args) == 3 and isinstance(args[2], torch.Tensor):
            node.metadata[_INDEX_KEY] = (args[2], source)

    def before_backward(self, nodes: list[Any]) -> None:
        """Look at what a loss takes the mean of."""
        if self.watch.step < _STEPS and len(nodes) == 1 and nodes[0] is not None:
            for index, source in _averaged(nodes[0]):
                self.see(index, source)

    def see(self, targets: torch.Tensor, source: int) -> None:
        """Look at the targets of a loss of which every one counts."""
        found = self.watch.facts.padded_targets
        if self.watch.step >= _STEPS or len(found) >= _MAX_FOUND:
            return
        for ids in self.operators.root_inputs.values():
            if ids.dim() != 2 or ids.dtype not in (torch.int64, torch.int32) or ids.numel() != targets.numel():
                continue
            token = self._padding_of(ids) if ids.shape[1] >= _LEAST and ids.device == targets.device else None
            if token is not None:
                share, value = _padded(ids == token, targets.reshape(ids.shape), ids)
                if share > _LEAST_SHARE:
                    found.append(PaddedTargets(
                        step=self.watch.step, place=self.watch.place_of(source), token=token, target=value, share=share
                    ))  # fmt: skip
            return

    def _padding_of(self, ids: torch.Tensor) -> int | None:
        found = {
            m.padding_idx for model in self.watch.names.alive() for m in model.modules()
            if isinstance(m, nn.Embedding | nn.EmbeddingBag) and m.padding_idx is not None
        }  # fmt: skip
        return found.pop() if len(found) == 1 else None


def _averaged(root: Any) -> Iterator[tuple[torch.Tensor, int]]:
    """Yield what was picked where a loss takes the mean of all of it."""
    for term in terms_of(root):
        node = term.node
        for _ in range(_DEPTH if term.kind == "mean" else 0):
            below = [one for one, _ in node.next_functions if one is not None]
            if len(below) != 1:
                break
            node = below[0]
            if operation_of(node) == "Gather" and _INDEX_KEY in node.metadata:
                yield node.metadata[_INDEX_KEY]
            if operation_of(node) not in _SHOWN:
                break


def _padded(padding: torch.Tensor, targets: torch.Tensor, ids: torch.Tensor) -> tuple[float, int]:
    """Return the share of positions that are padding on both sides, and the target there, which is none elsewhere."""
    if not bool(padding.any()) or bool(padding.all()) or not may_be_padding(padding, ids):
        return 0.0, 0
    value = targets[padding][0]
    if bool((targets[padding] != value).any()) or bool((targets[~padding] == value).any()):
        return 0.0, 0
    return float(padding.float().mean()), int(value)
