"""What a ``train()`` of the user's does: is freezing in force, and is evaluation mode obeyed?

Backbones override ``train`` to freeze their first stages. Who never calls ``model.train()`` (a new module is in
training mode already), or undoes it, trains them. A copy of the model tells: what would ``train()`` freeze, that trains
now? Another copy tells what stays in training mode after ``eval()``, which calls ``train(False)``.
"""

from __future__ import annotations

from torch import nn

from trainworthy.check.live.facts_setup import StaysInTraining, UnappliedFreeze
from trainworthy.check.live.models import Call
from trainworthy.check.live.modules import acts_by_mode
from trainworthy.check.live.names import unwrap
from trainworthy.check.live.twins import copy_of, may_be_copied, undisturbed
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
    twin = copy_of(model)
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
    """Note the layers that stay in training mode, by the innermost module around them with a ``train`` of its own."""
    twin = copy_of(model)
    twin.eval()
    modules = dict(twin.named_modules())
    staying: dict[type[nn.Module], list[str]] = {}
    for name, module in modules.items():
        if module.training and acts_by_mode(module):
            parts = name.split(".")
            around = [type(modules[".".join(parts[:n])]) for n in range(len(parts) - 1, -1, -1)]
            kind = next((one for one in around if one in kinds), None)
            if kind is not None:
                staying.setdefault(kind, []).append(name)
    for kind, names in staying.items():
        place = watch.defined_at(kind.train)
        if place is not None:
            watch.facts.stay_in_training.append(StaysInTraining(
                place=place, class_name=kind.__name__, names=tuple(names),
                layers=tuple(dict.fromkeys(type(modules[name]).__name__ for name in names)),
            ))  # fmt: skip
