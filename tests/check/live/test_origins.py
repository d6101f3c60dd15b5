"""Lines that make modules and optimizers, set modes, cast weights and clear gradients."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from trainworthy.check.finding import Place
from trainworthy.check.live.origins import OriginWatch
from trainworthy.check.live.watch import Watch
from trainworthy.tape.source import SourceFinder


class Net(nn.Module):
    """Sets modes in an override, and has a hash that needs what is not there yet."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.name = nn.Linear(2, 2), "net"

    def train(self, mode: bool = True) -> Net:
        super().train(mode)
        return self

    def __hash__(self) -> int:
        return hash(self.name)


def line() -> int:
    return sys._getframe(1).f_lineno


def looking() -> Watch:
    return Watch(SourceFinder((str(Path(__file__).parent),)), Place("here", 1))


def number(place: Place | None) -> int:
    assert place is not None
    assert place.path.endswith("test_origins.py")
    return place.line


def test_lines_are_those_of_the_caller() -> None:
    watch = looking()
    origins = OriginWatch(watch)
    with origins.installed():
        watch.looking = True
        model, made = Net(), line()
        optimizer, optimizer_made = torch.optim.SGD(model.parameters(), lr=0.1), line()
        _, evaluated = model.eval(), line()
        _, cast = model.to(torch.bfloat16), line()
        model.to("cpu")
        _, cleared = optimizer.zero_grad(), line()
        watch.looking = False
        later = nn.Linear(2, 2)
    assert number(watch.made_at(model)) == number(origins.made_at(model)) == made
    assert number(watch.made_at(optimizer)) == optimizer_made
    assert number(watch.made_at(model.inner)) == Net.__init__.__code__.co_firstlineno + 2
    for module in (model, model.inner):
        set_at = watch.mode_set_at(module)
        assert set_at is not None
        assert (number(set_at[0]), set_at[1]) == (evaluated, True)
        assert number(watch.cast_at(module)) == cast
    assert number(watch.cleared_at()) == cleared
    assert (watch.made_at(later), watch.cast_at(later), watch.mode_set_at(later)) == (None, None, None)
    assert watch.made_at(None) is None
    assert watch.facts.left_out == []


def test_methods_are_given_back() -> None:
    methods = [nn.Module.__init__, nn.Module.train, nn.Module.to, torch.optim.Optimizer.zero_grad]
    with OriginWatch(looking()).installed():
        assert nn.Module.train is not methods[1]
    assert methods == [nn.Module.__init__, nn.Module.train, nn.Module.to, torch.optim.Optimizer.zero_grad]


def test_an_older_setting_is_not_recent() -> None:
    watch = looking()
    with OriginWatch(watch).installed():
        watch.looking = True
        model = nn.Linear(2, 2)
        model.train()
    watch.facts.backwards.append(None)  # type: ignore[arg-type]
    set_at = watch.mode_set_at(model)
    assert set_at is not None
    assert not set_at[1]
