"""Where a step begins and ends, in loops of every style; on real tensors and on virtual ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainworthy.tape.record import Tape
from trainworthy.tape.recorder import Recorder
from trainworthy.virtual.gpu import VirtualGpu

SGD = torch.optim.SGD


class Recording:
    """A recording under way; ``tape`` is there when it is over."""

    def __init__(self, recorder: Recorder, device: str) -> None:
        self.recorder, self.device = recorder, device
        self.tape: Tape


Record = Callable[[], Any]


@pytest.fixture(params=["cpu", "cuda"])
def record(request: pytest.FixtureRequest) -> Record:
    @contextmanager
    def recording() -> Iterator[Recording]:
        if request.param == "cpu":
            with Recorder() as recorder:
                now = Recording(recorder, "cpu")
                yield now
            now.tape = recorder.tape(device="cpu")
        else:
            with VirtualGpu() as gpu:
                now = Recording(gpu.recorder, "cuda")
                yield now
            now.tape = gpu.tape()

    return recording


def products(tape: Tape) -> dict[int, Counter[str]]:
    """Count matrix products by step and phase: what a step is made of."""
    counts: dict[int, Counter[str]] = {segment.step: Counter() for segment in tape.segments}
    for op in tape.ops:
        if op.name in {"mm", "addmm"}:
            counts[op.step][op.phase] += 1
    return {step: count for step, count in counts.items() if count}


def complete(tape: Tape) -> list[int]:
    return [segment.step for segment in tape.segments if segment.complete and segment.step]


def test_one_optimizer(record: Record) -> None:
    with record() as now:
        net = nn.Linear(3, 1).to(now.device)
        optimizer = SGD(net.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(torch.ones(2, 3, device=now.device)).sum().backward()
            optimizer.step()
    assert products(now.tape) == {step: {"forward": 1, "backward": 1} for step in (1, 2, 3)}
    assert complete(now.tape) == [1, 2, 3]
    assert now.tape.reference_step == 3


def test_an_optimizer_that_is_older_than_the_recording() -> None:
    net = nn.Linear(3, 1)
    optimizer = SGD(net.parameters(), 0.1)
    with Recorder() as recorder:
        for _ in range(2):
            net(torch.ones(2, 3)).sum().backward()
            optimizer.step()
    assert products(recorder.tape()) == {step: {"forward": 1, "backward": 1} for step in (1, 2)}


def test_accumulated_gradients_are_one_step(record: Record) -> None:
    with record() as now:
        net = nn.Linear(3, 1).to(now.device)
        optimizer = SGD(net.parameters(), 0.1)
        for micro_step in range(8):
            net(torch.ones(2, 3, device=now.device)).sum().backward()
            if micro_step % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
    assert products(now.tape) == {step: {"forward": 4, "backward": 4} for step in (1, 2)}


def test_a_gan_makes_rounds_of_two_optimizers(record: Record) -> None:
    with record() as now:
        one, two = nn.Linear(3, 3).to(now.device), nn.Linear(3, 1).to(now.device)
        first, second = SGD(one.parameters(), 0.1), SGD(two.parameters(), 0.1)
        for _ in range(2):
            fake = one(torch.ones(2, 3, device=now.device))
            two(fake.detach()).sum().backward()
            second.step()
            two(fake).sum().backward()
            first.step()
    assert products(now.tape) == {step: {"forward": 3, "backward": 4} for step in (1, 2)}
    assert complete(now.tape) == [1, 2]


def test_five_steps_of_the_critic_and_one_of_the_generator_are_one_round(record: Record) -> None:
    with record() as now:
        one, two = nn.Linear(3, 3).to(now.device), nn.Linear(3, 1).to(now.device)
        generator, critic = SGD(one.parameters(), 0.1), SGD(two.parameters(), 0.1)
        for iteration in range(10):
            with torch.no_grad():
                fake = one(torch.ones(2, 3, device=now.device))
            two(fake).sum().backward()
            critic.step()
            if iteration % 5 == 4:
                two(one(torch.ones(2, 3, device=now.device))).sum().backward()
                generator.step()
    # Step 1 begins with the first forward pass that is differentiated.
    assert {step: count["forward"] for step, count in products(now.tape).items()} == {0: 1, 1: 11, 2: 12}


def test_lbfgs_evaluates_many_times_in_one_step(record: Record) -> None:
    with record() as now:
        net = nn.Linear(3, 1).to(now.device)
        optimizer = torch.optim.LBFGS(net.parameters(), max_iter=3, tolerance_grad=-1, tolerance_change=-1)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss: Tensor = net(torch.ones(2, 3, device=now.device)).square().sum()
            loss.backward()
            return loss

        for _ in range(2):
            optimizer.step(closure)
    counts = products(now.tape)
    assert list(counts) == [1, 2]
    assert all(count["forward"] == count["backward"] >= 3 for count in counts.values())
    phases = {op.phase for op in now.tape.ops if op.step == 1}
    assert {"forward", "backward", "optimizer"} <= phases


def test_a_step_with_a_closure_as_lightning_makes_it(record: Record) -> None:
    with record() as now:
        net = nn.Linear(3, 1).to(now.device)
        optimizer = torch.optim.AdamW(net.parameters())

        def closure() -> Tensor:
            loss: Tensor = net(torch.ones(2, 3, device=now.device)).sum()
            optimizer.zero_grad()
            loss.backward()
            return loss

        for _ in range(2):
            optimizer.step(closure=closure)
    assert products(now.tape) == {step: {"forward": 1, "backward": 1} for step in (1, 2)}
    kinds = {storage.kind for storage in now.tape.storages()}
    assert {"parameter", "gradient", "optimizer_state"} <= kinds


def test_parameters_updated_by_hand(record: Record) -> None:
    with record() as now:
        net = nn.Linear(3, 1).to(now.device)
        for _ in range(3):
            net(torch.ones(2, 3, device=now.device)).sum().backward()
            for parameter in net.parameters():
                assert parameter.grad is not None
                parameter.data -= 0.1 * parameter.grad
                parameter.grad = None
        now.recorder.steps.finish()
    assert products(now.tape) == {step: {"forward": 1, "backward": 1} for step in (1, 2, 3)}
    assert complete(now.tape) == [1, 2, 3]
    assert all(op.phase == "other" for op in now.tape.ops if op.name.startswith("sub_"))


def test_a_loop_without_modules(record: Record) -> None:
    with record() as now:
        x, y = torch.ones(4, 3, device=now.device), torch.zeros(4, 1, device=now.device)
        weight = torch.zeros(3, 1, device=now.device, requires_grad=True)
        total = torch.zeros((), device=now.device)
        for _ in range(3):
            loss = (x @ weight - y).square().mean()
            loss.backward()
            with torch.no_grad():
                assert weight.grad is not None
                weight -= 0.1 * weight.grad
                weight.grad.zero_()
                total += loss
        now.recorder.steps.finish()
    assert products(now.tape) == {step: {"forward": 1, "backward": 1} for step in (1, 2, 3)}
    assert {op.phase for op in now.tape.ops if op.name in {"sub_.Tensor", "zero_"}} == {"other"}
    kinds = {storage.number: storage.kind for storage in now.tape.storages()}
    first = next(op for op in now.tape.ops if op.name == "mm")
    assert [kinds[tensor.storage] for tensor in first.inputs] == ["input", "parameter"]


def test_a_gradient_penalty_does_not_end_a_step(record: Record) -> None:
    with record() as now:
        net = nn.Linear(3, 1).to(now.device)
        for _ in range(2):
            x = torch.ones(2, 3, device=now.device, requires_grad=True)
            (slope,) = torch.autograd.grad(net(x).exp().sum(), x, create_graph=True)
            (net(x).sum() + slope.square().sum()).backward()
            for parameter in net.parameters():
                parameter.grad = None
        now.recorder.steps.finish()
    assert {step: count["forward"] for step, count in products(now.tape).items()} == {1: 2, 2: 2}


def test_evaluation_between_steps_belongs_to_the_next_one_and_is_no_forward_pass(record: Record) -> None:
    with record() as now:
        net = nn.Linear(3, 1).to(now.device)
        optimizer = SGD(net.parameters(), 0.1)
        for _ in range(2):
            net.train()
            net(torch.ones(2, 3, device=now.device)).sum().backward()
            optimizer.step()
            net.eval()
            with torch.no_grad():
                net(torch.ones(2, 3, device=now.device))
    assert products(now.tape) == {
        1: {"forward": 1, "backward": 1},
        2: {"other": 1, "forward": 1, "backward": 1},
        3: {"other": 1},
    }
    assert complete(now.tape) == [1, 2]


def test_a_forward_pass_alone_is_a_forward_pass(record: Record) -> None:
    with record() as now:
        net = nn.Linear(3, 1).to(now.device).eval()
        with torch.no_grad():
            net(torch.ones(2, 3, device=now.device))
    assert [op.phase for op in now.tape.ops if op.name == "addmm"] == ["forward"]


def test_clipping_and_data_are_told_apart(record: Record) -> None:
    with record() as now:
        net = nn.Linear(3, 1).to(now.device)
        optimizer = SGD(net.parameters(), 0.1)
        data = torch.ones(20, 3, device=now.device)
        for _ in range(2):
            for _ in range(2):
                batch = data.roll(1, 0).exp()
                net(batch).sum().backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
    phases = {op.name: op.phase for op in now.tape.ops if op.step == 2}
    assert phases["roll"] == "data"
    assert phases["exp"] == "data"
    norms = [op for op in now.tape.ops if "norm" in op.name]
    assert norms
    assert {op.phase for op in norms} == {"other"}


def test_a_failed_forward_pass_leaves_no_trace(record: Record) -> None:
    with record() as now:
        net = nn.Sequential(nn.Linear(3, 1)).to(now.device)
        optimizer = SGD(net.parameters(), 0.1)
        with pytest.raises(RuntimeError):
            net(torch.ones(2, 4, device=now.device))
        net(torch.ones(2, 3, device=now.device)).sum().backward()
        optimizer.step()
        assert now.recorder.modules.stack == []
    assert {op.module for op in now.tape.ops if op.name == "addmm"} == {"0"}
    assert complete(now.tape) == [1]
