"""The line through which a sample reaches others, found by running a model twice."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trainworthy.check.finding import Place
from trainworthy.check.live import spreading
from trainworthy.check.live.spreading import first_spread
from trainworthy.check.live.watch import Watch
from trainworthy.tape.source import SourceFinder

BATCH, LENGTH, WIDTH = 4, 6, 3
Model = Callable[[torch.Tensor], torch.Tensor]


def by_batch_and_time(x: torch.Tensor) -> torch.Tensor:
    flat = x.reshape(BATCH * LENGTH, WIDTH) @ torch.ones(WIDTH, 5)
    across = x.transpose(0, 1).reshape(LENGTH * BATCH, WIDTH).exp()
    joined = flat.reshape(BATCH, LENGTH, 5).sum(1) + across.reshape(LENGTH, BATCH, WIDTH).sum((0, 2))[:, None]
    return joined.softmax(0)


def by_view(x: torch.Tensor) -> torch.Tensor:
    h = x * 2
    h = h.view(LENGTH, BATCH, WIDTH)
    return h.sum(0)


def apart(x: torch.Tensor) -> torch.Tensor:
    return x.softmax(-1).sum(1)


def found(model: Model) -> Place | None:
    torch.manual_seed(0)
    x = torch.randn(BATCH, LENGTH, WIDTH)
    kept = x.clone()

    def change() -> Callable[[], None]:
        x[0].copy_(x[1])

        def undo() -> None:
            x.copy_(kept)

        return undo

    watch = Watch(SourceFinder((str(Path(__file__).parent),)), Place("here", 1))
    place = first_spread(functools.partial(model, x), change, BATCH, watch)
    assert torch.equal(x, kept)
    return place


@pytest.mark.parametrize(("model", "line"), [(by_batch_and_time, 4), (by_view, 2)])
def test_names_the_line(model: Model, line: int) -> None:
    place = found(model)
    assert place is not None
    assert place.line == model.__code__.co_firstlineno + line


def test_samples_that_stay_apart_have_none() -> None:
    assert found(apart) is None


def test_a_model_without_a_line_of_the_users_has_none() -> None:
    assert found(torch.nn.Softmax(dim=0)) is None


def test_large_models_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreading, "_MAX_BYTES", 100)
    assert found(by_view) is None
