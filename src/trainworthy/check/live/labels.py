"""Class targets beside the tokens that the model was given.

They are looked at when the step ends: what depends on their numbers would make the host wait for a GPU in the middle of
the forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.facts_seldom import MaskedEnd, SoftTargets
from trainworthy.check.live.facts_steps import LossTargets
from trainworthy.check.live.one_by_one import OneByOne, from_one_hot
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.watch import Watch

_MAX_STEPS = 12
_BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_MIN_TOKENS = 32
_LEAST = 16  # of those that are given one by one
_SHIFTS = 4
_ONE_HOT_STEPS = 4
_MAX_PENDING = 16  # losses of a step, as in gradient accumulation
_MAX_HOME = 1 << 16  # targets that are brought home as they are: a wait, instead of several


@dataclass(slots=True)
class _Pending:
    """A loss of this step; the versions tell whether its tensors still hold what it was given."""

    step: int
    source: int
    num_classes: int
    targets: torch.Tensor
    ignore: int
    padding: int | None
    ids: torch.Tensor | None
    versions: tuple[int, int]
    is_binary: bool = False
    least: int = _MIN_TOKENS
    counts: bool = False  # every target, and as much as any other
    made_at: Place | None = None  # the loss

    def is_unchanged(self) -> bool:
        return self.versions == _versions(self.targets, self.ids)


class LabelWatch:
    """Reads the targets of cross-entropies; needs no seam of its own."""

    def __init__(self, watch: Watch, operators: OperatorWatch) -> None:
        self.watch = watch
        self.operators = operators
        self._pending: list[_Pending] = []
        self.on_counted: Callable[[torch.Tensor, int], None] = lambda targets, source: None
        self._one_by_one = OneByOne(watch, operators)
        self._padding: dict[tuple[int, ...], int | None] = {}  # of a number of classes and models
        operators.on_loss.append(self._loss)
        operators.on_evaluated_loss = self._evaluated

    def step_ends(self) -> None:
        """Look at the targets of the losses since the last look; those written over since then are left out."""
        for source, number, targets, ids in self._one_by_one.rows():
            self.watch.facts.stepped_targets.append(self._describe(_Pending(
                self.watch.step, source, number, targets, -100, None, ids, _versions(targets, ids), least=_LEAST
            )))  # fmt: skip
        self._look()

    def _look(self) -> None:
        for each in self._pending:
            if each.is_unchanged():
                facts = self.watch.facts
                fact = self._describe(each)
                (facts.binary_targets if each.is_binary else facts.targets).append(fact)
                if each.counts and fact.num_counted == fact.num_targets:
                    self.watch.attempt("padding", self.on_counted, each.targets, each.source)
        self._pending.clear()

    def _loss(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, source: int) -> None:
        if self.watch.step >= _MAX_STEPS:
            return
        if name in _BINARY:
            self._binary(args[1] if len(args) > 1 else kwargs.get("target"), source)
        if name not in ("cross_entropy", "nll_loss"):
            return
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
        given = self.operators.root_inputs.values()
        ids = next((t for t in given if t.dim() == 2 and _is_ids(t)), None)
        if ids is None and self.watch.step < _ONE_HOT_STEPS:
            ids = self.watch.attempt("rows of one", _one_hot_among, given, int(scores.shape[1]))
        if reduced and scores.dim() == 2:
            self.watch.attempt("single tokens", self._one_by_one.see, scores, targets, source)
        if len(self._pending) >= _MAX_PENDING:
            self._look()
        self._pending.append(_Pending(
            self.watch.step, source, int(scores.shape[1]), targets, int(ignore), padding, ids, _versions(targets, ids),
            counts=reduced and weight is None, made_at=self._loss_made_at(),
        ))  # fmt: skip

    def _loss_made_at(self) -> Place | None:
        """Return where the loss module that runs was made, if it is one."""
        stack = self.operators.modules.stack
        return self.watch.made_at(stack[-1]) if stack and isinstance(stack[-1], nn.modules.loss._Loss) else None

    def _evaluated(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any, source: int) -> None:
        """Look at the first losses of an evaluation of tokens, each as if it were one of the training."""
        found = self.watch.facts.evaluated_targets
        given = [t for t in self.operators.evaluated_inputs if _is_ids(t)]
        if len(found) >= _MAX_STEPS or len(given) != 1 or name not in ("cross_entropy", "nll_loss"):
            return
        scores = args[0] if args else kwargs.get("input")
        targets = args[1] if len(args) > 1 else kwargs.get("target")
        if not isinstance(scores, torch.Tensor) or not isinstance(targets, torch.Tensor) or scores.dim() < 2:
            return
        if not targets.is_floating_point() and targets.numel():
            ignore = int(kwargs.get("ignore_index", args[4] if len(args) > 4 else -100))
            ids = given[0] if given[0].dim() == 2 else None
            found.append(self._describe(_Pending(
                self.watch.step, source, int(scores.shape[1]), targets, ignore, None, ids, _versions(targets, ids)
            )))  # fmt: skip

    def _describe(self, loss: _Pending) -> LossTargets:
        targets, ids, ignore, padding = loss.targets, loss.ids, loss.ignore, loss.padding
        shape = _rows(targets)
        if targets.device.type != "cpu" and targets.numel() <= _MAX_HOME:
            same_device = ids is not None and ids.device == targets.device
            targets, ids = targets.cpu(), ids.cpu() if ids is not None and same_device else None
        counted = targets != ignore
        are_tails = shape is not None and _are_tails(~counted.reshape(shape))
        values = targets[counted]
        distinct = values.unique() if values.numel() else values
        share, matches = None, self._matches(loss, targets, counted, ids)
        if padding is not None and padding != ignore and values.numel():
            share = float((values == padding).float().mean())
        ends = ids is not None and matches is not None and _are_ends(~counted.reshape(len(ids), -1))
        is_flat = targets.dim() == 1
        return LossTargets(
            step=loss.step, place=self.watch.place_of(loss.source), num_targets=targets.numel(),
            num_counted=int(values.numel()), num_classes=loss.num_classes, ignore_index=ignore,
            ignored_is_class=0 <= ignore < loss.num_classes, distinct=int(distinct.numel()),
            matches=matches, ignored_at_end=ends,
            ignored_are_tails=are_tails, padding_idx=padding, padding_share=share,
            single_class=is_flat and values.numel() >= 4 and distinct.numel() == 1, is_flat=is_flat,
            classes=frozenset(distinct[:64].tolist()) if is_flat else frozenset(), made_at=loss.made_at,
        )  # fmt: skip

    def _binary(self, targets: Any, source: int) -> None:
        """Keep a row, or a column, of binary labels until the step ends."""
        if not isinstance(targets, torch.Tensor) or targets.requires_grad or targets.dim() not in (1, 2):
            return
        if targets.numel() == targets.shape[0] and len(self._pending) < _MAX_PENDING:
            self._pending.append(_Pending(
                self.watch.step, source, 2, targets.reshape(-1), -100, None, None, _versions(targets, None), True
            ))  # fmt: skip

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
        key = (num_classes, *map(id, models))
        if key not in self._padding:
            self._padding[key] = self._find_padding_idx(models, num_classes)
        return self._padding[key]

    @staticmethod
    def _find_padding_idx(models: list[nn.Module], num_classes: int) -> int | None:
        found = {
            m.padding_idx for model in models for m in model.modules()
            if isinstance(m, nn.Embedding) and m.padding_idx is not None and m.num_embeddings == num_classes
        }  # fmt: skip
        return found.pop() if len(found) == 1 else None

    def _matches(
        self, loss: _Pending, targets: torch.Tensor, counted: torch.Tensor, ids: torch.Tensor | None
    ) -> tuple[float, ...] | None:
        if ids is None or targets.device != ids.device or targets.numel() % ids.shape[0]:
            return None
        length = targets.numel() // ids.shape[0]
        if not 0 <= ids.shape[1] - length <= 3 or length < 8 or ids.unique().numel() < 8:
            return None
        rows, mask = targets.reshape(ids.shape[0], length), counted.reshape(ids.shape[0], length)
        shares = []
        for shift in range(_SHIFTS):
            width = min(length, ids.shape[1] - shift)
            kept = mask[:, :width]
            same = (rows[:, :width] == ids[:, shift : shift + width]) & kept
            total = int(kept.sum())
            shares.append(int(same.sum()) / total if total >= loss.least else 0.0)
        best = max(range(_SHIFTS), key=lambda k: shares[k])
        if shares[best] > 0.98 and not bool(mask.all()):
            self._masked_end(loss, ids, rows, mask, best)
        return tuple(shares)

    def _masked_end(
        self, loss: _Pending, ids: torch.Tensor, rows: torch.Tensor, mask: torch.Tensor, shift: int
    ) -> None:
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
            step=loss.step, place=self.watch.place_of(loss.source), token=int(left), rows=int(cut.sum()),
            distinct_last=int(last),
        ))  # fmt: skip


def _one_hot_among(given: Iterable[torch.Tensor], classes: int) -> torch.Tensor | None:
    """Return the tokens of the first texts whose tokens are rows of zeros and a one."""
    texts = (from_one_hot(t, classes) for t in given if t.dim() == 3)
    return next((t for t in texts if t is not None), None)


def _is_ids(tensor: torch.Tensor) -> bool:
    return tensor.dtype in (torch.int64, torch.int32)


def _rows(targets: torch.Tensor) -> tuple[int, ...] | None:
    """Return the shape of targets of texts, (N, T), also if the loss is given all of them in one row."""
    whole = targets._base if targets._base is not None and targets.dim() == 1 else targets
    return tuple(whole.shape) if whole.dim() == 2 and whole.numel() == targets.numel() else None


def _are_tails(chosen: torch.Tensor) -> bool:
    """Tell whether what is chosen is the end of some rows (N, T), of several places, and nothing else."""
    counts = chosen.sum(1)
    partly = (counts > 1) & (counts < chosen.shape[1])
    return bool(partly.any()) and _are_ends(chosen)


def _are_ends(chosen: torch.Tensor) -> bool:
    """Tell whether what is chosen in rows (N, T) stands at their ends only."""
    return bool((chosen[:, 1:] >= chosen[:, :-1]).all())


def _versions(targets: torch.Tensor, ids: torch.Tensor | None) -> tuple[int, int]:
    return targets._version, ids._version if ids is not None else 0
