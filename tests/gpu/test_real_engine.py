"""The engine on a real GPU: the guard that lags a step, exact resume, gradients over NCCL."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from train import programs
from trainworthy.errors import TrainError
from trainworthy.train.engine import Run, train
from trainworthy.train.recipe import Recipe
from trainworthy.train.replicas import Replicas

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("row")]


def fused(named: list[tuple[str, nn.Parameter]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW([each for _, each in named], lr=1e-2, fused=True)


def recipe(**options: Any) -> Recipe:
    return programs.words_recipe(
        optimizer=fused, clip_norm=0.5, **{"device": "cuda", "batch_size": 6, "epochs": 3, **options}
    )


class Spoilt(Dataset[Any]):
    """Words, one of which is not a number."""

    def __init__(self, bad: int) -> None:
        self.words, self.bad = programs.Words(24), bad

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> Any:
        x, y = self.words[index]
        return (x * math.nan if index == self.bad else x), y


def test_a_step_that_is_not_finite_is_named_and_never_saved(tmp_path: Path) -> None:
    spoilt = replace(recipe(log_every=100, checkpoint_every=1, keep_checkpoints=100), train_data=Spoilt(9))
    with pytest.raises(TrainError) as caught:
        train(spoilt, folder=tmp_path, quiet=True)
    assert "The loss is nan" in str(caught.value)
    assert "the data: batch[0]" in str(caught.value.fix)
    named = int(str(caught.value.where).split("step ")[1].split(",")[0])
    saved = sorted(int(each.name.split("-")[1]) for each in (tmp_path / "checkpoints").glob("step-*"))
    assert saved == list(range(1, named + 1))  # all steps before it, none after


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_the_host_reads_no_number_in_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch can refuse every wait for the device: between two rows of metrics there is none but for an event."""
    take = Run._take

    def watched(run: Run, data: Any) -> None:
        torch.cuda.set_sync_debug_mode("error" if run.step >= 2 else "default")
        try:
            take(run, data)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Run, "_take", watched)
    assert train(recipe(log_every=4), folder=tmp_path, quiet=True).step == 12


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_resume_is_bit_equal(tmp_path: Path, precision: str) -> None:
    exact = {"deterministic": True, "precision": precision, "ema_decay": 0.9}
    whole, _ = programs.trained(recipe(**exact), tmp_path / "whole")
    train(recipe(**exact, max_time_s=1e-9), folder=tmp_path / "parts", quiet=True)  # stops after its first step
    parts, outcome = programs.trained(recipe(**exact), tmp_path / "parts")
    assert outcome.resumed_from is not None
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.fixture
def nccl(tmp_path: Path) -> Iterator[None]:
    """A process group of one: the calls and the streams of NCCL, on a machine with one GPU."""
    torch.distributed.init_process_group("nccl", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("nccl")
def test_replicas_over_nccl_leave_gradients_as_they_are() -> None:
    torch.manual_seed(0)
    net = programs.Net().cuda()
    unused = nn.Parameter(torch.zeros(3, device="cuda"))
    x = torch.randn(4, 8, device="cuda")
    net(x).square().sum().backward()
    truth = [each.grad.clone() for each in net.parameters() if each.grad is not None]
    net.zero_grad()
    replicas = Replicas([*net.parameters(), unused], torch.distributed.group.WORLD)
    for _ in range(3):
        replicas.expect()
        net(x).square().sum().backward()
        replicas.finish()
        found = [each.grad for each in net.parameters()]
        assert all(one is not None and torch.equal(one, two) for one, two in zip(found, truth, strict=True))
        assert unused.grad is None
        net.zero_grad()
    replicas.close()
