"""Trainings on several ranks, each with the guard or without."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from trainworthy.check.finding import Place
from trainworthy.check.live.guard import Guard, GuardError


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
    _keep(wrapped, optimizer, scale)
    return findings, numbers


_KEPT: list[object] = []


def _keep(*things: object) -> None:
    """End together and tear nothing down: groups and wrapped models that go at once can deadlock with gloo's thread."""
    dist.barrier()
    _KEPT.extend(things)


def train_with_all(*, guarded: bool, compiled: bool) -> tuple[list[str], list[float]]:
    """Train data-parallel with a schedule, a loss scaler, clipping, collectives of one's own, and maybe compiled."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))
    run: Any = DistributedDataParallel(model)
    if compiled:
        run = torch.compile(run, backend="aot_eager")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=20)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**38, growth_interval=3)
    torch.manual_seed(1 + dist.get_rank())
    guard = Guard(model, steps=8, home=Place("ranks.py", 1)) if guarded else None
    numbers = []
    with guard or contextlib.nullcontext():
        for step in range(8):
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(run(torch.randn(8, 4)), torch.randint(3, (8,)))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            schedule.step()
            total = loss.detach().clone()
            dist.all_reduce(total)
            parts = [torch.zeros(()) for _ in range(dist.get_world_size())]
            dist.all_gather(parts, loss.detach())
            told: list[Any] = [step if dist.get_rank() == 0 else None]
            dist.broadcast_object_list(told, src=0)
            numbers += [float(total), scaler.get_scale(), *map(float, parts), float(told[0])]
            if step == 4:
                model.eval()
                with torch.no_grad():
                    numbers.append(float(model(torch.ones(2, 4)).sum()))
                model.train()
    findings = [f"{f.code} {f.message}" for f in guard.findings] if guard else []
    numbers += [float(v) for p in [*model.parameters(), *model.buffers()] for v in p.detach().flatten()]
    numbers += torch.get_rng_state().double().tolist()[:64]
    _keep(run, model, optimizer)
    return findings, numbers


def train_all_ways() -> dict[str, tuple[list[str], list[float]]]:
    """Train with and without the guard, as it is and compiled; return what each gave."""
    dist.init_process_group("gloo")
    found = {}
    for compiled in (False, True):
        for guarded in (False, True):
            torch._dynamo.reset()  # a process that compiles is looked at less closely
            name = f"{'compiled' if compiled else 'eager'} {'guarded' if guarded else 'alone'}"
            found[name] = train_with_all(guarded=guarded, compiled=compiled)
    return found


def shard(*, fault: bool) -> list[str]:
    """Train with FSDP2 over two replicas of two shards, and tensor-parallel norms; return the findings."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo")
    mesh = init_device_mesh("cpu", (2, 1), mesh_dim_names=("replicate", "shard"))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3))
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(1 + dist.get_rank())
    guard = Guard(steps=6, home=Place("ranks.py", 1))
    with guard:
        for step in range(6):
            loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
            optimizer.zero_grad()
            loss.backward()
            if fault and step == 1 and dist.get_rank() == 1:
                weight: Any = model[1].weight
                with torch.no_grad():
                    weight.to_local().mul_(1.01)
            optimizer.step()
    _keep(model, optimizer)
    return [f"{f.code} {f.message}" for f in guard.findings]


class Averaging(nn.Module):
    """Keeps an average of what it sees, of its own rank or of all."""

    average: torch.Tensor

    def __init__(self, *, over_all: bool) -> None:
        super().__init__()
        self.over_all = over_all
        self.register_buffer("average", torch.zeros(8))
        self.register_buffer("limit", torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.detach().mean(0)
        if self.over_all:
            dist.all_reduce(mean)
        self.average.lerp_(mean, 0.1)
        return x - self.average


def own_buffer(*, fault: bool) -> list[str]:
    """Train with a module that keeps statistics in a buffer."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), Averaging(over_all=not fault), nn.BatchNorm1d(8), nn.Linear(8, 1))
    wrapped = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.01)
    torch.manual_seed(1 + dist.get_rank())
    guard = Guard(steps=5, home=Place("ranks.py", 1))
    with guard:
        for _ in range(5):
            loss = wrapped(torch.randn(8, 4)).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    _keep(wrapped, optimizer)
    return [f"{f.code} {f.message}" for f in guard.findings]


def same_data(*, fault: bool) -> list[str]:
    """Train with a DistributedSampler, or with the same batches on all ranks."""
    from torch.utils.data import DataLoader
    from torch.utils.data.distributed import DistributedSampler

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    data: Any = torch.randn(64, 4)
    wrapped = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.01)
    loader = DataLoader(data, batch_size=4, sampler=None if fault else DistributedSampler(data))
    guard = Guard(steps=8, home=Place("ranks.py", 1))
    with guard:
        for x in loader:
            loss = wrapped(x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    _keep(wrapped, optimizer)
    return [f"{f.code} {f.message}" for f in guard.findings]


def one_rank_validates(*, fault: str, shared: bool = True) -> list[str]:
    """Validate on rank 0 only, or gather last batches of different sizes; return what the guard raised or found.

    Without gradients, a validation through the wrapped model on one rank fits: it takes over the next broadcast of
    the buffers.
    """
    torch.manual_seed(0)
    wrapped = DistributedDataParallel(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1)))
    optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.01)
    _KEPT.extend([wrapped, optimizer])
    rank = dist.get_rank()
    torch.manual_seed(1 + rank)
    guard = Guard(steps=8, raises="error", home=Place("ranks.py", 1))
    guard._around.collectives.share_memory = shared
    try:
        with guard:
            for step in range(8):
                loss = wrapped(torch.randn(8, 4)).pow(2).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if step == 2 and fault in ("buffers", "validates") and rank == 0:
                    wrapped.eval()
                    with torch.no_grad() if fault == "validates" else contextlib.nullcontext():
                        wrapped(torch.randn(8, 4))
                    wrapped.train()
                if step == 2 and fault == "metric" and rank == 0:
                    dist.all_reduce(loss.detach())
                if step == 2 and fault == "uneven":
                    given = torch.ones(3 + rank, 2)
                    dist.all_gather([torch.empty(3 + rank, 2) for _ in range(2)], given)
                if step == 2 and fault == "dtype":
                    dist.all_reduce(torch.ones(2, dtype=torch.float32 if rank else torch.float64))
                if step == 2 and fault == "root":
                    dist.broadcast(torch.ones(2), src=rank)
                if step == 2 and fault == "split":
                    splits = [1, 3] if rank == 0 else [2, 2]
                    dist.all_to_all_single(torch.empty(4, 1), torch.ones(4, 1), [2, 2], splits)
                if step == 2 and fault == "none":
                    rows = [[1, 3], [2, 2]]
                    dist.all_to_all_single(
                        torch.empty(sum(r[rank] for r in rows), 1),
                        torch.ones(4, 1),
                        [r[rank] for r in rows],
                        rows[rank],
                    )
                    dist.all_gather([torch.empty(2) for _ in range(2)], torch.ones(2))
                    dist.reduce(torch.ones(2), dst=1)
                    dist.scatter(torch.empty(2), [torch.ones(2)] * 2 if rank == 0 else None, src=0)
                    dist.gather(torch.ones(2), [torch.empty(2)] * 2 if rank == 0 else None, dst=0)
                    dist.barrier()
    except GuardError as error:
        return [f"{f.code} {f.message}" for f in error.findings]
    return [f"{f.code} {f.message}" for f in guard.findings]


def collectives(faults: tuple[str, ...], *, shared: bool = True) -> dict[str, list[str]]:
    """Try one fault after the other in one group; ``shared``: ranks may read each other's memory."""
    dist.init_process_group("gloo")
    found = {}
    for fault in faults:
        found[fault] = one_rank_validates(fault=fault, shared=shared)
        dist.barrier()
    return found
