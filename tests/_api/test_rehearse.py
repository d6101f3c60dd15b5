"""``trainworthy.rehearse`` of a function, and ``trainworthy.record``, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import trainworthy


def test_function_with_a_loss_is_back_propagated() -> None:
    def step() -> torch.Tensor:
        model = nn.Linear(1000, 1000).cuda()
        return model(torch.randn(8, 1000, device="cuda")).square().mean()  # type: ignore[no-any-return]

    result = trainworthy.rehearse(step, gpu="a100-sxm-80gb")
    assert (result.verdict, result.error, result.steps) == ("fits", None, 2)
    assert result.macs_forward == 8 * 1000 * 1000
    assert result.gpu == "a100-sxm-80gb"


def test_setup_runs_once_and_its_step_again() -> None:
    calls: list[str] = []

    def setup() -> object:
        calls.append("setup")
        model = nn.Linear(100, 100).cuda()
        optimizer = torch.optim.Adam(model.parameters())

        def step() -> trainworthy.Step:
            calls.append("step")
            return trainworthy.Step(loss=model(torch.randn(8, 100, device="cuda")).mean(), optimizer=optimizer)

        return step

    result = trainworthy.rehearse(setup, steps=3)
    assert (result.steps, calls) == (3, ["setup", "step", "step", "step"])


def test_function_that_raises_is_an_answer() -> None:
    def step() -> torch.Tensor:
        x = torch.randn(8, 3, device="cuda")
        return x @ x

    result = trainworthy.rehearse(step)
    assert result.verdict == "failed"
    assert result.error is not None
    assert "8x3 and 8x3" in result.error["message"]
    assert result.error["tensors"][0].startswith("x: float32[8, 3] on cuda:0, made at ")


def test_function_that_returns_nothing_is_told_so() -> None:
    result = trainworthy.rehearse(lambda: None)
    assert result.error is not None
    assert "ran no backward pass" in result.error["message"]


def test_process_is_as_it_was() -> None:
    state = torch.get_rng_state()
    call, available = nn.Module.__call__, torch.cuda.is_available()
    trainworthy.rehearse(lambda: nn.Linear(3, 3).cuda()(torch.ones(2, 3).cuda()).sum())
    assert nn.Module.__call__ is call
    assert torch.cuda.is_available() == available
    assert torch.nn.Linear(3, 3).weight.device.type == "cpu"
    assert float(torch.nn.Linear(3, 3)(torch.zeros(1, 3)).detach().sum()) != 1.0
    assert state.shape == torch.get_rng_state().shape


def test_record_and_load_tape(tmp_path: Path) -> None:
    model = nn.Linear(16, 16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with trainworthy.record() as tape:
        for _ in range(2):
            model(torch.randn(4, 16)).sum().backward()
            optimizer.step()
    flops = sum(op.flops or 0 for op in tape.ops)
    assert flops == 2 * (2 * 4 * 16 * 16 * 2)  # two steps of forward and weight gradient
    assert tape.memory().peak_bytes > 0
    tape.save(tmp_path / "step.twt")
    loaded = trainworthy.load_tape(tmp_path / "step.twt")
    assert isinstance(loaded, trainworthy.Tape)
    assert loaded.num_ops == tape.num_ops
    with pytest.raises(AttributeError):
        tape.no_such  # noqa: B018
