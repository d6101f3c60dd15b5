"""Which losses of a rehearsal get what was squashed already, by the operations on the tape.

A result is followed through views, which share its memory, and through what only picks or copies; whatever else is
done to it ends it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from trainworthy.check.dry.rows import rows
from trainworthy.tape.record import Op, Source, Tape

Loss = Literal["cross_entropy", "nll_loss", "binary_cross_entropy_with_logits"]
_LOSSES: dict[str, Loss] = {
    "nll_loss_forward": "nll_loss",
    "nll_loss2d_forward": "nll_loss",
    "binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
    "log_sigmoid_forward": "binary_cross_entropy_with_logits",  # of multilabel_soft_margin_loss
}
_SQUASH = {"_softmax": "softmax", "sigmoid": "sigmoid", "_log_softmax": "log_softmax", "exp": "exp"}
_PICK = frozenset("index select slice index_select clone _to_copy squeeze view _unsafe_view masked_select".split())


class Squashed(NamedTuple):
    """A loss that squashes its input, the squashing before it, and where each stands."""

    loss: Loss
    activation: str
    loss_at: Source
    activation_at: Source


class _Made(NamedTuple):
    activation: str
    source: Source
    before: _Made | None  # what the input of a log-softmax was


def squashed_twice(tape: Tape) -> Iterator[Squashed]:
    """Yield the losses of the reference step that get the result of a softmax or sigmoid where they take scores."""
    names = {row.signature.name.partition(".")[0] for row in rows(tape)}
    if names.isdisjoint(_LOSSES) or names.isdisjoint(("_softmax", "sigmoid", "exp")):
        return  # known before anything is unfolded
    made: dict[int, _Made] = {}
    for op in tape.ops:
        if op.step != tape.reference_step or op.phase not in ("forward", "loss") or not op.inputs:
            continue
        name = op.name.partition(".")[0]
        given = made.get(op.inputs[0].storage)
        if name in _LOSSES and given is not None:
            yield from _at_loss(_LOSSES[name], given, op)
        _follow(made, name, op, given)


def _at_loss(loss: Loss, given: _Made, op: Op) -> Iterator[Squashed]:
    if loss == "nll_loss" and given.activation == "log_softmax":
        if given.before is not None and given.before.activation in ("softmax", "sigmoid"):
            yield Squashed("cross_entropy", given.before.activation, op.source, given.before.source)
    elif given.activation in ("softmax", "sigmoid") or (loss == "nll_loss" and given.activation == "exp"):
        yield Squashed(loss, given.activation, op.source, given.source)


def _follow(made: dict[int, _Made], name: str, op: Op, given: _Made | None) -> None:
    """Note what the results of an operation are: squashed, a part of something squashed, or neither."""
    for out in op.outputs[:1]:
        if name in _SQUASH:
            made[out.storage] = _Made(_SQUASH[name], op.source, given)
        elif given is not None and name in _PICK:
            made[out.storage] = given
        elif out.storage != op.inputs[0].storage or name.endswith("_"):
            made.pop(out.storage, None)
