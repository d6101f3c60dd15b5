"""GradScaler: scaled steps, clipping, several optimizers, its errors."""
# mypy: allow-untyped-calls, allow-untyped-decorators, no-warn-unreachable
# mypy: disable-error-code="attr-defined,union-attr,operator,index,no-any-return,arg-type,misc,call-overload,call-arg"

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainworthy.virtual.gpu import VirtualGpu


@pytest.fixture(autouse=True)
def _on_gpu(gpu: VirtualGpu) -> None:
    """Run every test of this file on the virtual GPU."""


def r(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, device="cuda")


def test_grad_scaler_with_two_optimizers(gpu: VirtualGpu) -> None:
    one, two = nn.Linear(4, 4).cuda(), nn.Linear(4, 1).cuda()
    optimizers = [torch.optim.AdamW(one.parameters()), torch.optim.SGD(two.parameters(), lr=0.1)]
    scaler = torch.amp.GradScaler("cuda")
    assert scaler.is_enabled()
    for _ in range(2):
        with torch.autocast("cuda", dtype=torch.float16):
            loss = two(one(r(2, 4))).float().mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizers[0])
        norm = nn.utils.clip_grad_norm_(one.parameters(), 1.0)
        assert norm.device.type == "cuda"
        for optimizer in optimizers:
            scaler.step(optimizer)
        scaler.update()
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
    assert scaler.get_scale() == 65536.0
    state = scaler.state_dict()
    assert state["scale"] == 65536.0
    scaler.load_state_dict(state)
    assert optimizers[0].state[one.weight]["step"].item() == 2
    names = {op.name for op in gpu.tape().ops}
    assert "_amp_foreach_non_finite_check_and_unscale_" in names
    assert "_amp_update_scale_" in names
    with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
        scaler.update()


def test_grad_scaler_errors_and_disabled() -> None:
    layer = nn.Linear(2, 2).cuda()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0, growth_interval=1)
    scaler.scale(layer(r(2, 2)).sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match=r"unscale_\(\) has already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert scaler.get_scale() == 2048.0
    half = nn.Linear(2, 2).cuda().half()
    bad = torch.optim.SGD(half.parameters(), lr=0.1)
    scaler.scale(half(r(2, 2).half()).sum()).backward()
    with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
        scaler.unscale_(bad)
    off = torch.amp.GradScaler("cuda", enabled=False)
    loss = layer(r(2, 2)).sum()
    assert off.scale(loss) is loss
    with pytest.warns(FutureWarning, match="deprecated"):
        assert torch.cuda.amp.GradScaler().is_enabled()
