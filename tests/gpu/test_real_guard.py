"""The live guard on a real GPU: training is bit-equal with and without it, and it names what is wrong."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

import trainworthy

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("row")]


def _train(*, guarded: bool, amp: torch.dtype | None, broken: bool = False) -> tuple[list[torch.Tensor], list[str]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1)).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**8, enabled=amp is torch.float16)
    found: list[str] = []
    with trainworthy.guard(model, optimizer, quiet=True) if guarded else nullcontext() as guard:
        for _ in range(30):
            x = torch.randn(48, 32, device="cuda")
            y = x.sum(1) if broken else x.sum(1, keepdim=True)
            with torch.autocast("cuda", dtype=amp, enabled=amp is not None):
                loss = (model(x).float() - y).square().mean()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            schedule.step()
    if guard is not None:
        found = [each.code for each in guard.findings]
    return [each.detach().clone() for each in model.parameters()], found


@pytest.mark.parametrize("amp", [None, torch.bfloat16, torch.float16])
def test_training_is_bit_equal_and_clean(amp: torch.dtype | None) -> None:
    bare, _ = _train(guarded=False, amp=amp)
    watched, found = _train(guarded=True, amp=amp)
    assert found == []
    assert all(torch.equal(one, other) for one, other in zip(bare, watched, strict=True))


def test_a_broadcast_is_found() -> None:
    assert "TW101" in _train(guarded=True, amp=None, broken=True)[1]
