"""What a ``train()`` of the user's does: is freezing in force, and is evaluation mode obeyed?

Backbones override ``train`` to freeze their first stages. Who never calls ``model.train()`` (a new module is in
training mode already), or undoes it, trains them. A copy of the model tells: what would ``train()`` freeze, that trains
now? Another copy tells what stays in training mode after ``eval()``, which calls ``train(False)``.
"""

from __future__ import annotations

import copy

from torch import nn

from trainworthy.check.live.facts_setup import StaysInTraining, UnappliedFreeze
from trainworthy.check.live.models import Call
from trainworthy.check.live.modules import acts_by_mode
from trainworthy.check.live.names import unwrap
from trainworthy.check.live.probes import may_be_copied, undisturbed
from trainworthy.check.live.watch import Watch


def look_at_freezing(watch: Watch, call: Call) -> None:
    """Compare a model that trains with a copy of it on which ``train()`` was called."""
    model = unwrap(call.model)
    kinds = {type(m) for m in model.modules() if type(m).train is not nn.Module.train}
    if not kinds or not model.training or not may_be_copied(model):
        return
    with watch.own_work_flag(), undisturbed():
        watch.attempt("freezing", _compare, watch, call, model, kinds)
        watch.attempt("freezing", _evaluate, watch, call, model, kinds)


def _compare(watch: Watch, call: Call, model: nn.Module, kinds: set[type[nn.Module]]) -> None:
    twin = copy.deepcopy(model)
    twin.train()
    after = dict(twin.named_parameters())
    names = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and p.grad is not None and name in after and not after[name].requires_grad
    ]
    if names:
        kind = next((k for k in kinds if watch.defined_at(k.train)), next(iter(kinds)))
        watch.facts.unapplied_freezes.append(UnappliedFreeze(
            place=call.place, class_name=kind.__name__, names=tuple(names), defined_at=watch.defined_at(kind.train),
        ))  # fmt: skip


def _evaluate(watch: Watch, call: Call, model: nn.Module, kinds: set[type[nn.Module]]) -> None:
    twin = copy.deepcopy(model)
    twin.eval()
    found = [(name, m) for name, m in twin.named_modules() if m.training and acts_by_mode(m)]
    at = next((place for k in kinds if (place := watch.defined_at(k.train)) is not None), None)
    if found and at is not None:
        watch.facts.stay_in_training.append(StaysInTraining(
            place=at, class_name=next(k for k in kinds if watch.defined_at(k.train) == at).__name__,
            names=tuple(name for name, _ in found),
            layers=tuple(dict.fromkeys(type(m).__name__ for _, m in found)),
        ))  # fmt: skip
