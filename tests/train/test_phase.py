"""The gradient of a step is that of the whole batch, however it is split: checked in the process, by Hypothesis."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from train import programs
from trainworthy.errors import TrainError
from trainworthy.train.finite import NotFiniteError
from trainworthy.train.layout import Layout
from trainworthy.train.meters import Meters
from trainworthy.train.phase import PhaseRun, Work
from trainworthy.train.precision import precision
from trainworthy.train.recipe import Loss, Phase
from trainworthy.train.spread import Spread

CPU = torch.device("cpu")
DATA = programs.Words(24)


def phase_run(model: nn.Module, phase: Phase, *, name: Any = "fp32", check_finite: bool = True) -> PhaseRun:
    return PhaseRun(
        phase,
        Spread(model, Layout()),
        precision(name, CPU),
        prefix="",
        check_finite=check_finite,
        meters=Meters(),
        steps=10,
    )


def plain(**options: Any) -> Phase:
    return Phase(
        loss=programs.token_loss, optimizer=lambda named: torch.optim.SGD([p for _, p in named], 1.0), **options
    )


def work(batches: list[Any]) -> Work:
    weights = [float(programs.count(batch)) for batch in batches]
    return Work(0, tuple(batches), weights, sum(weights))


@settings(max_examples=30)
@given(cuts=st.sets(st.integers(1, 23)), order=st.permutations(range(24)), clip=st.sampled_from([None, 0.05]))
def test_any_split_gives_the_gradient_of_the_whole(cuts: set[int], order: list[int], clip: float | None) -> None:
    torch.manual_seed(0)
    model = programs.Net()
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    x, y = DATA.x[order], DATA.y[order]
    logits = model(x)
    F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=programs.PAD).backward()
    if clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    truth = {name: each.grad for name, each in model.named_parameters()}
    model.zero_grad()
    edges = [0, *sorted(cuts), 24]
    batches = [(x[a:b], y[a:b]) for a, b in itertools.pairwise(edges)]
    phase_run(model, plain(clip_norm=clip)).run(work(batches))
    for name, each in model.named_parameters():
        gradient = before[name] - each.detach()  # SGD with a rate of 1
        right = truth[name]
        assert right is not None
        assert (gradient - right).norm() <= 2e-6 * right.norm() + 1e-7  # rounding of weight - gradient


def test_error_of_the_gradient_itself() -> None:
    """The same without the rounding of the optimizer's step: 1e-6, where the mean of means is off by more than 0.1."""
    torch.manual_seed(0)
    model = programs.Net()
    F.cross_entropy(model(DATA.x).flatten(0, 1), DATA.y.flatten(), ignore_index=programs.PAD).backward()
    truth = torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])
    model.zero_grad()
    batches = [(DATA.x[i : i + 5], DATA.y[i : i + 5]) for i in range(0, 24, 5)]
    run = phase_run(model, plain())
    run._gradients(work(batches))
    own = torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])
    assert (own - truth).norm() / truth.norm() < 1e-6
    model.zero_grad()
    for x, y in batches:
        (F.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=programs.PAD) / len(batches)).backward()
    naive = torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])
    assert (naive - truth).norm() / truth.norm() > 0.1


def test_a_filler_counts_nothing() -> None:
    torch.manual_seed(0)
    one, other = programs.Net(), programs.Net()
    other.load_state_dict(one.state_dict())
    batch, filler = (DATA.x[:4], DATA.y[:4]), (DATA.x[4:6], DATA.y[4:6])
    weight = float(programs.count(batch))
    first, second = phase_run(one, plain()), phase_run(other, plain())
    first.run(Work(0, (batch,), [weight], weight))
    second.run(Work(0, (batch, filler), [weight, 0.0], weight))
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    assert first.meters.read() == second.meters.read()


def test_other_parameters_are_left_alone() -> None:
    model = programs.Net()
    phase = plain(parameters=lambda net: [("head.bias", net.head.bias)])
    before = model.first.weight.detach().clone()
    phase_run(model, phase).run(work([(DATA.x, DATA.y)]))
    assert torch.equal(model.first.weight, before)
    assert all(each.grad is None and each.requires_grad for each in model.parameters())


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda m, b: m(b[0]).sum(), "The loss returned a Tensor, not a Loss"),
        (lambda m, b: Loss(total=m(b[0]).sum(dim=(0, 1))), r"Loss.total has shape \(5,\)"),
        (lambda m, b: Loss(total=m(b[0]).sum().detach()), "Loss.total requires no gradient"),
        (lambda m, b: Loss(total=m(b[0]).sum(), weight=24), r"Loss.weight is 24 and Recipe.count .* is \d+"),
    ],
)
def test_refuses_in_the_first_step(loss: Any, message: str) -> None:
    run = phase_run(programs.Net(), Phase(loss=loss, optimizer=programs.sgd))
    with pytest.raises(TrainError, match=message):
        run.run(work([(DATA.x, DATA.y)]))


def test_nan_stops_before_the_optimizers_step() -> None:
    model = programs.Net()
    before = model.head.weight.detach().clone()
    loss = lambda m, b: Loss(total=m(b[0]).sum() * float("nan"))  # noqa: E731
    with pytest.raises(NotFiniteError):
        phase_run(model, Phase(loss=loss, optimizer=programs.sgd)).run(work([(DATA.x, DATA.y)]))
    assert torch.equal(model.head.weight, before)


def test_fp16_skips_a_step_whose_gradient_overflows_and_scales_less() -> None:
    model = programs.Net()
    run = phase_run(model, plain(), name="fp16")
    assert run.scaler is not None
    run.scaler.value = 2.0**40
    before = model.head.weight.detach().clone()
    run.run(work([(DATA.x, DATA.y)]))
    assert torch.equal(model.head.weight, before)
    assert (run.scaler.value, run.scaler.skipped_steps) == (2.0**39, 1)
    run.scaler.value = 2.0**10
    run.run(work([(DATA.x, DATA.y)]))
    assert not torch.equal(model.head.weight, before)
    assert run.scaler.good_steps == 1


def test_fp16_that_always_overflows_is_an_error() -> None:
    run = phase_run(programs.Net(), plain(), name="fp16")
    assert run.scaler is not None
    run.scaler.value = 2.0**120
    for _ in range(30):
        run.run(work([(DATA.x, DATA.y)]))
    with pytest.raises(NotFiniteError):
        run.run(work([(DATA.x, DATA.y)]))


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_low_precision_is_near_fp32(name: str) -> None:
    torch.manual_seed(0)
    one, other = programs.Net(), programs.Net()
    other.load_state_dict(one.state_dict())
    phase_run(one, plain()).run(work([(DATA.x, DATA.y)]))
    phase_run(other, plain(), name=name).run(work([(DATA.x, DATA.y)]))
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-2, rtol=2e-2)


def test_without_the_guard_nothing_is_read() -> None:
    torch.manual_seed(0)
    one, other = programs.Net(), programs.Net()
    other.load_state_dict(one.state_dict())
    phase_run(one, plain(clip_norm=0.05)).run(work([(DATA.x, DATA.y)]))
    run = phase_run(other, plain(clip_norm=0.05), check_finite=False)
    run.run(work([(DATA.x, DATA.y)]))
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert run.meters.read()["grad_norm"] > 0.05


def test_the_rate_follows_the_schedule_in_every_group() -> None:
    def optimizer(named: list[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
        groups: list[dict[str, Any]] = [{"params": [named[0][1]], "lr": 2.0}, {"params": [p for _, p in named[1:]]}]
        return torch.optim.SGD(groups, lr=torch.tensor(4.0))

    model = programs.Net()
    phase = Phase(
        loss=programs.token_loss,
        optimizer=optimizer,
        schedule=lambda step, steps: 0.5,
    )
    run = phase_run(model, phase)
    run.run(work([(DATA.x, DATA.y)]))
    assert [float(group["lr"]) for group in run.optimizer.param_groups] == [1.0, 2.0]
    assert run.learning_rate == 1.0
