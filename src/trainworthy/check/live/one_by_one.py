"""Losses of one token after the other, as a loop over a recurrent cell makes them: put together, they are a text."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.watch import Watch

_STEPS, _MAX_LENGTH, _LEAST = 4, 256, 8
_LOOKED_AT = 3  # of the tensors that models were given last

Pair = tuple[torch.Tensor, torch.Tensor]


def from_one_hot(tensor: torch.Tensor, classes: int) -> torch.Tensor | None:
    """Return the tokens that rows of zeros and a one stand for; None for other numbers."""
    if not tensor.is_floating_point() or tensor.dim() < 2 or tensor.shape[-1] != classes or classes < _LEAST:
        return None
    rows = tensor.detach()
    if bool(((rows != 0).sum(-1) == 1).all()) and bool((rows.amax(-1) == 1).all()):
        return rows.argmax(-1)
    return None


class OneByOne:
    """Keeps what a model was given last beside the targets of the loss that follows, until the step ends."""

    def __init__(self, watch: Watch, operators: OperatorWatch) -> None:
        self.watch = watch
        self.operators = operators
        self._seen: dict[tuple[int, int, int], list[Pair]] = {}

    def see(self, scores: torch.Tensor, targets: torch.Tensor, source: int) -> None:
        """Note a loss of one token for each sample."""
        if self.watch.step >= _STEPS or targets.dim() > 1:
            return
        ids = self._given(targets, int(scores.shape[1]))
        if ids is not None:
            pairs = self._seen.setdefault((source, int(scores.shape[1]), targets.numel()), [])
            if len(pairs) < _MAX_LENGTH:
                pairs.append((ids.reshape(-1), targets.reshape(-1)))

    def _given(self, targets: torch.Tensor, classes: int) -> torch.Tensor | None:
        given = reversed(self.operators.root_inputs.values())
        for _, tensor in zip(range(_LOOKED_AT), given, strict=False):
            whole = tensor.dtype in (torch.int64, torch.int32) and tensor.device == targets.device
            if whole and tensor.numel() == targets.numel() and tensor.dim() <= 2:
                return tensor
            found = from_one_hot(tensor, classes)
            if found is not None and found.numel() == targets.numel() and found.device == targets.device:
                return found
        return None

    def rows(self) -> Iterator[tuple[int, int, torch.Tensor, torch.Tensor]]:
        """Yield source, number of classes, targets and tokens, both (samples, positions), of what was seen so far."""
        for (source, classes, _), pairs in self._seen.items():
            if len(pairs) >= _LEAST:
                ids, targets = (torch.stack(each, dim=1) for each in zip(*pairs, strict=True))
                yield source, classes, targets, ids
        self._seen.clear()
