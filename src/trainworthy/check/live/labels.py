"""Class targets beside the tokens that the model was given."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from trainworthy.check.live.facts_seldom import MaskedEnd, SoftTargets
from trainworthy.check.live.facts_steps import LossTargets
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.watch import Watch

_MAX_STEPS = 12
_MIN_TOKENS = 32
_SHIFTS = 4


class LabelWatch:
    """Reads the targets of cross-entropies; needs no seam of its own."""

    def __init__(self, watch: Watch, operators: OperatorWatch) -> None:
        self.watch = watch
        self.operators = operators
        self._given: list[torch.Tensor] = []
        self._ends = False
        operators.on_loss.append(self._loss)
        operators.on_evaluated_loss = self._evaluated

    def _loss(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, source: int) -> None:
        if name not in ("cross_entropy", "nll_loss") or self.watch.step >= _MAX_STEPS:
            return
        self._given = list(self.operators.root_inputs.values())
        scores = args[0] if args else kwargs.get("input")
        targets = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(scores, torch.Tensor) or not isinstance(targets, torch.Tensor):
            return
        if targets.is_floating_point() and name == "cross_entropy" and targets.shape == scores.shape:
            self._soft(targets, source)
        if targets.is_floating_point() or targets.is_complex() or scores.dim() < 2 or not targets.numel():
            return
        ignore = kwargs.get("ignore_index", args[4] if len(args) > 4 else -100)
        weight = kwargs.get("weight", args[2] if len(args) > 2 else None)
        reduced = kwargs.get("reduction", args[6] if len(args) > 6 else "mean") != "none"  # else it may be masked later
        padding = self._padding_idx(int(scores.shape[1])) if reduced else None
        if padding is not None and isinstance(weight, torch.Tensor) and float(weight[padding]) == 0:
            padding = None
        self.watch.facts.targets.append(self._describe(scores, targets, int(ignore), padding, source))
        self._given = []

    def _evaluated(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, source: int) -> None:
        """Look at the first losses of an evaluation of tokens, each as if it were one of the training."""
        found = self.watch.facts.evaluated_targets
        self._given = [t for t in self.operators.evaluated_inputs if _is_ids(t)]
        if len(found) >= _MAX_STEPS or len(self._given) != 1 or name not in ("cross_entropy", "nll_loss"):
            return
        scores = args[0] if args else kwargs.get("input")
        targets = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(scores, torch.Tensor) or not isinstance(targets, torch.Tensor) or scores.dim() < 2:
            return
        if not targets.is_floating_point() and targets.numel():
            ignore = kwargs.get("ignore_index", args[4] if len(args) > 4 else -100)
            found.append(self._describe(scores, targets, int(ignore), None, source))
        self._given = []

    def _describe(
        self, scores: torch.Tensor, targets: torch.Tensor, ignore: int, padding: int | None, source: int
    ) -> LossTargets:
        counted = targets != ignore
        values = targets[counted]
        num_classes = int(scores.shape[1] if scores.dim() != 1 else scores.shape[0])
        distinct = values.unique() if values.numel() else values
        share, matches = None, self._matches(targets, counted, source)
        if padding is not None and padding != ignore and values.numel():
            share = float((values == padding).float().mean())
        return LossTargets(
            step=self.watch.step, place=self.watch.place_of(source), num_targets=targets.numel(),
            num_counted=int(values.numel()), num_classes=num_classes, ignore_index=ignore,
            ignored_is_class=0 <= ignore < num_classes, distinct=int(distinct.numel()),
            matches=matches, ignored_at_end=matches is not None and self._ends, padding_idx=padding,
            padding_share=share,
            single_class=targets.dim() == 1 and values.numel() >= 4 and distinct.numel() == 1,
            is_flat=targets.dim() == 1,
            classes=frozenset(distinct[:64].tolist()) if targets.dim() == 1 else frozenset(),
        )  # fmt: skip

    def _soft(self, targets: torch.Tensor, source: int) -> None:
        if targets.dim() < 1 or not targets.numel() or len(self.watch.facts.soft_targets) >= _MAX_STEPS:
            return
        sums = targets.detach().float().sum(1 if targets.dim() > 1 else 0)
        self.watch.facts.soft_targets.append(SoftTargets(
            step=self.watch.step, place=self.watch.place_of(source), shape=tuple(targets.shape),
            off_by=float((sums - 1).abs().max()),
        ))  # fmt: skip

    def _padding_idx(self, num_classes: int) -> int | None:
        """Return the padding of the vocabulary that the classes are; a criterion on the stack is no model."""
        stack = [m for m in self.operators.modules.stack[:1] if not isinstance(m, nn.modules.loss._Loss)]
        models = stack or self.watch.names.alive()
        found = {
            m.padding_idx for model in models for m in model.modules()
            if isinstance(m, nn.Embedding) and m.padding_idx is not None and m.num_embeddings == num_classes
        }  # fmt: skip
        return found.pop() if len(found) == 1 else None

    def _matches(self, targets: torch.Tensor, counted: torch.Tensor, source: int) -> tuple[float, ...] | None:
        ids = next((t for t in self._given if t.dim() == 2 and _is_ids(t)), None)
        if ids is None or targets.device != ids.device or targets.numel() % ids.shape[0]:
            return None
        length = targets.numel() // ids.shape[0]
        if not 0 <= ids.shape[1] - length <= 3 or length < 8 or ids.unique().numel() < 8:
            return None
        rows, mask = targets.reshape(ids.shape[0], length), counted.reshape(ids.shape[0], length)
        self._ends = bool((mask[:, 1:] <= mask[:, :-1]).all())
        shares = []
        for shift in range(_SHIFTS):
            width = min(length, ids.shape[1] - shift)
            kept = mask[:, :width]
            same = (rows[:, :width] == ids[:, shift : shift + width]) & kept
            total = int(kept.sum())
            shares.append(int(same.sum()) / total if total >= _MIN_TOKENS else 0.0)
        best = max(range(_SHIFTS), key=lambda k: shares[k])
        if shares[best] > 0.98 and not bool(mask.all()):
            self._masked_end(ids, rows, mask, best, source)
        return tuple(shares)

    def _masked_end(self, ids: torch.Tensor, rows: torch.Tensor, mask: torch.Tensor, shift: int, source: int) -> None:
        """Note a tail of one token that is never a target, if the targets before it have nothing in common."""
        width = min(rows.shape[1], ids.shape[1] - shift)
        kept, aligned = mask[:, :width], ids[:, shift : shift + width]
        left = aligned[~kept].unique()
        lengths = kept.sum(1)
        is_tail = bool((kept == (torch.arange(width, device=kept.device) < lengths[:, None])).all())
        cut = (lengths > 0) & (lengths < width)
        if left.numel() != 1 or not is_tail or int(cut.sum()) < 3 or bool((rows[mask] == left).any()):
            return
        last = aligned[cut].gather(1, lengths[cut][:, None] - 1).unique().numel()
        self.watch.facts.masked_ends.append(MaskedEnd(
            step=self.watch.step, place=self.watch.place_of(source), token=int(left), rows=int(cut.sum()),
            distinct_last=int(last),
        ))  # fmt: skip


def _is_ids(tensor: torch.Tensor) -> bool:
    return tensor.dtype in (torch.int64, torch.int32)
