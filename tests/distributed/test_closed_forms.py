"""What a virtual rank sends and holds in worlds of 2 to 512 ranks, against closed forms written by hand here.

A ring moves 2 (N - 1)/N of the bytes in an all-reduce, (N - 1)/N in an all-gather (of its result) and in a
reduce-scatter (of its input).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from distributed.programs import Block
from distributed.virtual import rehearse_rank
from trainworthy.tape.record import Tape

WORLDS = (2, 8, 64, 512)
WIDTH, DEPTH, BATCH, FLOAT = 512, 3, 4, 4
RINGS = ("all_reduce", "all_gather", "reduce_scatter")
PER_BLOCK = 2 * WIDTH + (4 * WIDTH * WIDTH + 4 * WIDTH) + (4 * WIDTH * WIDTH + WIDTH)  # norm, up, down
BLOCK_BYTES = FLOAT * PER_BLOCK
PARAMETER_BYTES = DEPTH * BLOCK_BYTES


_KEPT: list[object] = []  # what a script's globals would keep alive


def _train(model: nn.Module, *, steps: int = 3, shape: tuple[int, ...] = (BATCH, WIDTH), lr: float = 1e-3) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, foreach=False)
    for _ in range(steps):
        model(torch.ones(*shape, device="cuda")).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    _KEPT[:] = [model, optimizer]


def _blocks(depth: int = DEPTH) -> nn.Sequential:
    return nn.Sequential(*(Block(WIDTH) for _ in range(depth))).cuda()


def data_parallel() -> None:
    dist.init_process_group("nccl")
    _train(nn.parallel.DistributedDataParallel(_blocks()))


def fully_sharded(reshard: bool, shard: int | None = None) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("nccl")
    size = dist.get_world_size()
    if shard is None:
        mesh = init_device_mesh("cuda", (size,))
    else:
        mesh = init_device_mesh("cuda", (size // shard, shard), mesh_dim_names=("replicate", "shard"))
    model = _blocks()
    for block in model:
        fully_shard(block, mesh=mesh, reshard_after_forward=reshard)
    fully_shard(model, mesh=mesh, reshard_after_forward=reshard)
    _train(model)


def tensor_parallel() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    dist.init_process_group("nccl")
    mesh = init_device_mesh("cuda", (dist.get_world_size(),))
    model = _blocks()
    for block in model:
        parallelize_module(block, mesh, {"up": ColwiseParallel(), "down": RowwiseParallel()})
    _train(model)


def pipeline(microbatches: int) -> None:
    from torch.distributed.pipelining import PipelineStage, ScheduleGPipe

    dist.init_process_group("nccl")
    rank, size = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", torch.cuda.current_device())
    x = torch.ones(microbatches * BATCH, WIDTH, device=device)
    comes, goes = x[:BATCH].clone().requires_grad_(rank > 0), x[:BATCH].clone().requires_grad_()
    stage = PipelineStage(_blocks(1), rank, size, device, input_args=comes, output_args=goes)
    schedule = ScheduleGPipe(stage, microbatches, loss_fn=F.mse_loss)
    optimizer = torch.optim.SGD(stage.submod.parameters(), lr=0.1)
    target: dict[str, Any] = {"target": x} if rank == size - 1 else {}
    for _ in range(2):
        schedule.step(*([x] if rank == 0 else []), **target)
        optimizer.step()
        optimizer.zero_grad()


def _rehearsed(function: Callable[[], None], world_size: int, rank: int = 0) -> Tape:
    try:
        return rehearse_rank(function, world_size, rank, gpus_per_node=min(world_size, 8))
    finally:
        _KEPT.clear()


def _sent_bytes(
    tape: Tape, kinds: tuple[str, ...] = ("all_reduce", "all_gather", "reduce_scatter")
) -> dict[str, Fraction]:
    """Sum, by kind, what a rank sends in rings in the steady step."""
    sent: dict[str, Fraction] = {}
    for op in tape.ops:
        c = op.collective
        if c is None or op.step != tape.reference_step or c.kind not in RINGS:
            continue
        n = len(tape.groups[c.group].ranks)
        share = {
            "all_reduce": Fraction(2 * (n - 1), n) * c.bytes_in,
            "all_gather": Fraction(n - 1, n) * c.bytes_out,
            "reduce_scatter": Fraction(n - 1, n) * c.bytes_in,
        }[c.kind]
        sent[c.kind] = sent.get(c.kind, Fraction(0)) + share
    return sent


def _padded(world_size: int) -> int:
    """Bytes of a block whose tensors are cut along their first dimension into equal, padded pieces."""
    rows = {WIDTH: 3, 4 * WIDTH: 1}  # vectors: norm weight and bias, bias of down; bias of up
    elements = sum(count * math.ceil(length / world_size) * world_size for length, count in rows.items())
    elements += math.ceil(4 * WIDTH / world_size) * world_size * WIDTH  # weight of up
    elements += math.ceil(WIDTH / world_size) * world_size * 4 * WIDTH  # weight of down
    return FLOAT * elements


@pytest.mark.parametrize("world_size", WORLDS)
def test_data_parallel_reduces_every_gradient_once(world_size: int) -> None:
    sent = _sent_bytes(_rehearsed(data_parallel, world_size))
    assert sent == {"all_reduce": Fraction(2 * (world_size - 1), world_size) * PARAMETER_BYTES}


@pytest.mark.parametrize("reshard", [True, False])
@pytest.mark.parametrize("world_size", WORLDS)
def test_fully_sharded_gathers_twice_or_once(world_size: int, reshard: bool) -> None:
    sent = _sent_bytes(_rehearsed(partial(fully_sharded, reshard), world_size))
    whole = Fraction(world_size - 1, world_size) * DEPTH * _padded(world_size)
    assert sent == {"all_gather": (2 if reshard else 1) * whole, "reduce_scatter": whole}


@pytest.mark.parametrize("world_size", WORLDS[1:])
def test_hybrid_sharding_adds_the_all_reduce_of_the_shard(world_size: int) -> None:
    shard = world_size // 2
    sent = _sent_bytes(_rehearsed(partial(fully_sharded, True, shard), world_size))
    whole = Fraction(shard - 1, shard) * DEPTH * _padded(shard)
    replicas = 2
    reduced = Fraction(2 * (replicas - 1), replicas) * Fraction(DEPTH * _padded(shard), shard)
    assert sent == {"all_gather": 2 * whole, "reduce_scatter": whole, "all_reduce": reduced}


@pytest.mark.parametrize("world_size", WORLDS)
def test_tensor_parallel_reduces_activations_twice_a_layer(world_size: int) -> None:
    sent = _sent_bytes(_rehearsed(tensor_parallel, world_size))
    activation = FLOAT * BATCH * WIDTH  # after down in the forward pass, before up in the backward pass
    assert sent == {"all_reduce": Fraction(2 * (world_size - 1), world_size) * DEPTH * 2 * activation}


@pytest.mark.parametrize("world_size", WORLDS)
def test_pipeline_sends_activations_and_their_gradients(world_size: int) -> None:
    microbatches, activation = 4, FLOAT * BATCH * WIDTH
    for rank in {0, world_size // 2, world_size - 1}:
        tape = _rehearsed(partial(pipeline, microbatches), world_size, rank)
        moved = {
            kind: sum(
                max(op.collective.bytes_in, op.collective.bytes_out)
                for op in tape.ops
                if op.collective is not None and op.collective.kind == kind and op.step == tape.reference_step
            )
            for kind in ("send", "recv")
        }
        neighbours = (rank > 0) + (rank < world_size - 1)
        assert moved == {"send": neighbours * microbatches * activation, "recv": neighbours * microbatches * activation}


@pytest.mark.parametrize("world_size", WORLDS)
def test_memory_of_a_rank_is_its_share(world_size: int) -> None:
    """Parameters, gradients and Adam's two moments, over the group; gradients stand for as long as their step."""
    tape = _rehearsed(partial(fully_sharded, True), world_size)
    share = DEPTH * _padded(world_size) // world_size
    held = {"parameter": 0, "optimizer_state": 0}
    for storage in tape.storages():
        if storage.device == tape.device and storage.death is None and storage.kind in held:
            held[storage.kind] += storage.size_bytes
    assert held["parameter"] == share
    scalars = FLOAT * DEPTH * 6  # Adam counts the steps of every tensor
    assert held["optimizer_state"] in (2 * share, 2 * share + scalars)
