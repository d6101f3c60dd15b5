"""Trainings on several ranks, each with the guard or without."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trainworthy.check.finding import Place
from trainworthy.check.live.guard import Guard


def train(*, guarded: bool, fault: str) -> tuple[list[str], list[float]]:
    """Train two ranks on different data; return the findings and the parameters."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    wrapped = DistributedDataParallel(model, broadcast_buffers=fault != "buffers")
    scale = nn.Parameter(torch.ones(1), requires_grad=fault == "outside")
    parameters = [*wrapped.parameters(), scale] if fault == "outside" else list(wrapped.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    torch.manual_seed(1 + dist.get_rank())
    guard = Guard(steps=6, home=Place("ranks.py", 1)) if guarded else None
    with guard or contextlib.nullcontext():
        for _ in range(6):
            run: Any = wrapped.module if fault == "inner" else wrapped
            loss = nn.functional.cross_entropy(scale * run(torch.randn(8, 4)), torch.randint(3, (8,)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    findings = [f"{f.code} {f.message}" for f in guard.findings] if guard else []
    numbers = [float(v) for p in [*model.parameters(), *model.buffers()] for v in p.detach().flatten()]
    dist.barrier()
    dist.destroy_process_group()
    return findings, numbers
