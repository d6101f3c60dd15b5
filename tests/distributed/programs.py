"""What ranks do, as functions that run the same on real gloo processes and on a virtual rank.

Each is called in a process (or on a virtual rank) that has torchrun's variables, and initialises the process group
itself. Like users' scripts they take the GPU if there is one: a virtual rank has one, a real process here has none.
Classes are looked up when they are called: a virtual rank may replace them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed._functional_collectives as fc
import torch.nn.functional as F
from torch import Tensor, nn

STEPS = 2
DDP_STEPS = 3  # buckets are built again after the first


@contextmanager
def world() -> Iterator[tuple[int, int]]:
    """Initialise the process group; yield rank and world size."""
    dist.init_process_group("gloo")
    try:
        yield dist.get_rank(), dist.get_world_size()
    finally:
        # gloo's thread lets go of the last tensors a little later; taking the group down meanwhile can deadlock.
        time.sleep(0.02)
        dist.destroy_process_group()


def _device() -> torch.device:
    return torch.device("cuda", int(os.environ["LOCAL_RANK"])) if torch.cuda.is_available() else torch.device("cpu")


def _seeded(number: int, *shape: int) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(number), device="cpu")
    return values.to(_device())


# --- data parallel ------------------------------------------------------------------------------------


class Branched(nn.Module):
    """Four layers of 1 MiB, BatchNorm buffers, and a layer that only even steps use."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(512, 512)
        self.norm = nn.BatchNorm1d(512)
        self.second = nn.Linear(512, 512)
        self.third = nn.Linear(512, 512)
        self.sometimes = nn.Linear(512, 512)

    def forward(self, x: Tensor, use_all: bool) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        x = self.third(F.relu(self.second(x)))
        return self.sometimes(x) if use_all else x


def ddp(*, skip: bool = False, hook: bool = False, accumulate: int = 1, **options: Any) -> None:
    """Train under DistributedDataParallel; ``skip`` leaves a layer out in odd steps."""
    with world() as (rank, _):
        torch.manual_seed(0)
        model = nn.parallel.DistributedDataParallel(Branched().to(_device()), bucket_cap_mb=2, **options)
        if hook:
            from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

            model.register_comm_hook(None, fp16_compress_hook)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(DDP_STEPS):
            for micro in range(accumulate):
                last = micro == accumulate - 1
                with nullcontext() if last else model.no_sync():
                    x = _seeded(100 * step + 10 * micro + rank, 4, 512)
                    model(x, use_all=not skip or step % 2 == 0).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        with torch.no_grad():
            model(x, use_all=True)


def zero_redundancy() -> None:
    """Shard the optimizer's state over the ranks of a DistributedDataParallel model."""
    from torch.distributed.optim import ZeroRedundancyOptimizer

    with world() as (rank, _):
        torch.manual_seed(0)
        model = nn.parallel.DistributedDataParallel(Branched().to(_device()))
        optimizer = ZeroRedundancyOptimizer(model.parameters(), optimizer_class=torch.optim.Adam, lr=1e-3)
        for step in range(STEPS):
            model(_seeded(10 * step + rank, 4, 512), use_all=True).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()


# --- fully sharded -------------------------------------------------------------------------------------


class Block(nn.Module):
    """Attention-free block: norm, up, down."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: torch.Tensor = x + self.down(F.gelu(self.up(self.norm(x))))
        return out


class Stack(nn.Module):
    """Embedding, blocks, output layer."""

    def __init__(self, width: int = 64, depth: int = 3, vocabulary: int = 96) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


def _tokens(seed: int, count: int, vocabulary: int = 96) -> Tensor:
    return torch.randint(vocabulary, (2, count), generator=torch.Generator().manual_seed(seed)).to(_device())


def fully_sharded(
    *, reshard: bool | int | None = None, mixed: bool = False, replicate: int = 0, accumulate: int = 1,
    width: int = 64, depth: int = 3, length: int = 16, steps: int = STEPS,
) -> None:  # fmt: skip
    """Train under FSDP2: ``replicate`` gives a 2-D mesh, ``accumulate`` keeps gradients local in between."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    with world() as (rank, world_size):
        if replicate:
            shape, names = (replicate, world_size // replicate), ("replicate", "shard")
            mesh = init_device_mesh(_device().type, shape, mesh_dim_names=names)
        else:
            mesh = init_device_mesh(_device().type, (world_size,))
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32) if mixed else MixedPrecisionPolicy()
        torch.manual_seed(0)
        model = Stack(width, depth).to(_device())
        for block in model.blocks:
            fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard)
        fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard)
        sharded: Any = model
        # One by one: lists of tensors are the default on GPUs, not on CPUs, and take temporary memory of their own.
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=False)
        for step in range(steps):
            for micro in range(accumulate):
                sharded.set_requires_gradient_sync(micro == accumulate - 1)
                tokens = _tokens(100 * step + 10 * micro + rank, length)
                F.cross_entropy(model(tokens).flatten(0, 1).float(), tokens.flatten()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()


# --- tensor parallel -----------------------------------------------------------------------------------


def tensor_parallel(
    *, sequence: bool = False, shard: bool = False, width: int = 64, depth: int = 3, length: int = 16
) -> None:
    """Train under tensor parallelism: with sequence and loss parallelism, or under FSDP2 on a 2-D mesh."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import loss_parallel, parallelize_module

    with world() as (_, world_size):
        tp = world_size // 2 if shard else world_size
        mesh = init_device_mesh(_device().type, (world_size // tp, tp), mesh_dim_names=("dp", "tp"))
        torch.manual_seed(0)
        model = Stack(width, depth).to(_device())
        parallelize_module(model, mesh["tp"], _outer_plan(sequence))
        for block in model.blocks:
            parallelize_module(block, mesh["tp"], _block_plan(sequence))
            if shard:
                fully_shard(block, mesh=mesh["dp"])
        if shard:
            fully_shard(model, mesh=mesh["dp"])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)  # not over both kinds of tensors
        for step in range(STEPS):
            tokens = _tokens(10 * step + mesh["dp"].get_local_rank(), length)
            with loss_parallel() if sequence else nullcontext():
                F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten()).backward()
            optimizer.step()
            optimizer.zero_grad()


def _outer_plan(sequence: bool) -> dict[str, Any]:
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel

    if not sequence:
        return {
            "embed": RowwiseParallel(input_layouts=Replicate()),
            "head": ColwiseParallel(output_layouts=Replicate()),
        }
    return {
        "embed": RowwiseParallel(input_layouts=Replicate(), output_layouts=Shard(1)),
        "norm": SequenceParallel(),
        "head": ColwiseParallel(input_layouts=Shard(1), output_layouts=Shard(-1), use_local_output=False),
    }


def _block_plan(sequence: bool) -> dict[str, Any]:
    from torch.distributed.tensor import Shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, SequenceParallel

    if not sequence:
        return {"up": ColwiseParallel(), "down": RowwiseParallel()}
    return {
        "norm": SequenceParallel(),
        "up": ColwiseParallel(input_layouts=Shard(1)),
        "down": RowwiseParallel(output_layouts=Shard(1)),
    }


# --- pipelines ------------------------------------------------------------------------------------------


def pipeline(schedule: str, *, per_rank: int = 1, microbatches: int = 4) -> None:
    """Train a stack of blocks cut into stages."""
    from torch.distributed.pipelining import PipelineStage
    from torch.distributed.pipelining.schedules import get_schedule_class

    with world() as (rank, world_size):
        num_stages = world_size * per_rank
        torch.manual_seed(0)
        indices = [rank + world_size * i for i in range(per_rank)]
        modules = [nn.Sequential(Block(32), Block(32)).to(_device()) for _ in indices]
        stages = [
            PipelineStage(module, index, num_stages, _device()) for module, index in zip(modules, indices, strict=True)
        ]
        schedule_class: Any = get_schedule_class(schedule)
        runner = schedule_class(
            stages[0] if per_rank == 1 else stages, n_microbatches=microbatches, loss_fn=nn.functional.mse_loss
        )
        parameters = [p for module in modules for p in module.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=1e-3)
        for step in range(STEPS):
            x = _seeded(step, 8, 32)
            inputs = [x] if rank == 0 else []
            runner.step(*inputs, **({"target": x.roll(1)} if rank == world_size - 1 else {}))
            optimizer.step()
            optimizer.zero_grad()


# --- plain collectives ----------------------------------------------------------------------------------


def classic() -> None:
    """Issue every collective of ``torch.distributed`` that gloo has, and wait for each."""
    with world() as (rank, size), _device():
        x = _seeded(rank, 6, 4)
        dist.all_reduce(x)
        dist.all_reduce(x, op=dist.ReduceOp.MAX)
        dist.all_reduce(torch.ones(5, dtype=torch.int64), op=dist.ReduceOp.MIN)
        dist.broadcast(x, src=size - 1)
        dist.reduce(x, dst=1, op=dist.ReduceOp.PRODUCT)
        dist.all_gather([torch.empty(6, 4) for _ in range(size)], x)
        dist.all_gather_into_tensor(torch.empty(6 * size, 4), x)
        dist.gather(x, [torch.empty(6, 4) for _ in range(size)] if rank == 1 else None, dst=1)
        dist.scatter(x, [torch.ones(6, 4) for _ in range(size)] if rank == 0 else None, src=0)
        dist.reduce_scatter(torch.empty(3, dtype=torch.float64), [torch.ones(3, dtype=torch.float64)] * size)
        dist.reduce_scatter_tensor(torch.empty(3), torch.ones(3 * size))
        dist.all_to_all_single(torch.empty(2 * size, 3), torch.ones(2 * size, 3))
        rows = [1 + (rank + i) % 2 for i in range(size)]
        dist.all_to_all_single(torch.empty(sum(rows), 3), torch.ones(sum(rows), 3), rows, rows)
        dist.barrier()


def asynchronous() -> None:
    """Issue collectives that are waited for later, in another order."""
    with world() as (rank, size), _device():
        x, y = _seeded(rank, 8, 8), torch.ones(16, dtype=torch.bfloat16)
        whole = torch.empty(8 * size, 8)
        works = [
            dist.all_reduce(x, async_op=True),
            dist.all_gather_into_tensor(whole, x.clone(), async_op=True),
            dist.broadcast(y, src=0, async_op=True),
            dist.all_reduce(y.float(), async_op=True),
        ]
        for work in reversed(works):
            if work is not None:
                work.wait()


def subgroups() -> None:
    """Issue collectives in groups: halves of the world, and one that holds only some ranks."""
    with world() as (rank, size), _device():
        halves = [dist.new_group(list(range(size // 2))), dist.new_group(list(range(size // 2, size)))]
        evens = dist.new_group(list(range(0, size, 2)))
        x = torch.ones(7)
        dist.all_reduce(x, group=halves[rank >= size // 2])
        if rank % 2 == 0:
            dist.broadcast(x, src=0, group=evens)
        dist.all_reduce(x)


def point_to_point() -> None:
    """Send around a ring: blocking, asynchronous and in a batch."""
    with world() as (rank, size), _device():
        after, before = (rank + 1) % size, (rank - 1) % size
        out, into = _seeded(rank, 5, 3), torch.empty(5, 3)
        if rank % 2 == 0:
            dist.send(out, after)
            dist.recv(into, before)
        else:
            dist.recv(into, before)
            dist.send(out, after)
        works = [dist.isend(out, after), dist.irecv(into, before)]
        for work in works:
            if work is not None:
                work.wait()
        both = [dist.P2POp(dist.isend, out.double(), after), dist.P2POp(dist.irecv, into.double(), before)]
        for work in dist.batch_isend_irecv(both):
            work.wait()


def objects() -> None:
    """Exchange Python objects, which travel as bytes after their sizes."""
    with world() as (rank, size):
        everyone: list[Any] = [None] * size
        dist.all_gather_object(everyone, {"rank": rank})
        shared: list[Any] = [{"seed": 17}, "a name"] if rank == 0 else [None, None]
        dist.broadcast_object_list(shared, src=0)
        dist.gather_object(rank, everyone if rank == 0 else None, dst=0)
        mine: list[Any] = [None]
        dist.scatter_object_list(mine, [(i,) for i in range(size)] if rank == 0 else None, src=0)


def functional() -> None:
    """Issue the functional collectives, which return new tensors, also under autograd."""
    with world() as (rank, size), _device():
        group = dist.group.WORLD
        assert group is not None
        x = _seeded(rank, 4 * size, 3)
        total = fc.all_reduce(x, "sum", group)
        gathered = fc.all_gather_tensor(x, 0, group)
        mean = fc.reduce_scatter_tensor(gathered, "sum", 0, group)
        fc.all_to_all_single(x, None, None, group)
        fc.broadcast(mean + total, 0, group)
        weight = torch.ones(3, requires_grad=True)
        (fc.all_gather_tensor_autograd(x * weight, 0, group).sum()).backward()


PROGRAMS: dict[str, tuple[Callable[..., None], dict[str, Any], tuple[int, ...]]] = {
    "classic": (classic, {}, (2, 4)),
    "asynchronous": (asynchronous, {}, (2,)),
    "subgroups": (subgroups, {}, (4,)),
    "point_to_point": (point_to_point, {}, (2, 4)),
    "objects": (objects, {}, (2,)),
    "functional": (functional, {}, (2,)),
    "ddp": (ddp, {}, (2, 4)),
    "ddp_no_sync": (ddp, {"accumulate": 2}, (2,)),
    "ddp_bucket_view": (ddp, {"gradient_as_bucket_view": True}, (2,)),
    "ddp_unused": (ddp, {"find_unused_parameters": True, "skip": True}, (2,)),
    "ddp_static_graph": (ddp, {"static_graph": True}, (2,)),
    "ddp_fp16_hook": (ddp, {"hook": True}, (2,)),
    "ddp_local_buffers": (ddp, {"broadcast_buffers": False}, (2,)),
    "zero_redundancy": (zero_redundancy, {}, (2,)),
    "fsdp2": (fully_sharded, {"reshard": True}, (2, 4)),
    "fsdp2_kept": (fully_sharded, {"reshard": False}, (2,)),
    "fsdp2_resharded_to_2": (fully_sharded, {"reshard": 2}, (4,)),
    "fsdp2_mixed": (fully_sharded, {"mixed": True}, (2,)),
    "fsdp2_accumulated": (fully_sharded, {"accumulate": 2}, (2,)),
    "hsdp": (fully_sharded, {"replicate": 2}, (4,)),
    "tensor_parallel": (tensor_parallel, {}, (2,)),
    "sequence_parallel": (tensor_parallel, {"sequence": True}, (2,)),
    "tp_fsdp": (tensor_parallel, {"shard": True}, (4,)),
    "gpipe": (pipeline, {"schedule": "GPipe"}, (2, 4)),
    "1f1b": (pipeline, {"schedule": "1F1B"}, (2,)),
    "interleaved": (pipeline, {"schedule": "Interleaved1F1B", "per_rank": 2}, (2,)),
}
"""Name -> function, keyword arguments, world sizes."""
