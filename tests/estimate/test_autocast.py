"""A float32 tape put under autocast agrees with a rehearsal under autocast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from estimate.hand_made import H100
from tape.tapes import Block
from trainworthy.estimate.autocast import with_autocast
from trainworthy.estimate.steps import Setting, run_steps
from trainworthy.tape.record import Tape
from trainworthy.virtual.gpu import VirtualGpu


def convolutional() -> tuple[nn.Module, tuple[int, ...]]:
    layers = [nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10)]
    model = nn.Sequential(*layers, nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), *head)
    return model, (64, 64, 56, 56)


def transformer() -> tuple[nn.Module, tuple[int, ...]]:
    return nn.Sequential(Block(512), Block(512), Block(512)), (16, 512, 512)


def recorded(make: Callable[[], tuple[nn.Module, tuple[int, ...]]], *, bf16: bool) -> Tape:
    with VirtualGpu() as gpu:
        model, shape = make()
        model = model.cuda()
        optimizer = torch.optim.SGD(model.parameters())
        for _ in range(2):
            with torch.autocast("cuda", dtype=torch.bfloat16, enabled=bf16):
                loss = model(torch.randn(shape, device="cuda")).float().square().mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return gpu.tape()


@pytest.mark.parametrize("make", [convolutional, transformer])
def test_time_and_memory_are_those_of_a_rehearsal_under_autocast(
    make: Callable[[], tuple[nn.Module, tuple[int, ...]]],
) -> None:
    changed = with_autocast(recorded(make, bf16=False))
    real = recorded(make, bf16=True)
    setting = Setting(machine=H100)
    assert run_steps({0: changed}, setting).step_s == pytest.approx(run_steps({0: real}, setting).step_s, rel=0.25)
    assert changed.memory().peak_bytes == pytest.approx(real.memory().peak_bytes, rel=0.25)
