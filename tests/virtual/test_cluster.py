"""A rank of a virtual cluster: environment, devices, groups, values, waits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pytest
import torch
import torch.distributed as dist
from torch import nn

from trainworthy.errors import UsageError
from trainworthy.hardware import gpu_row
from trainworthy.virtual.cluster import Cluster, ClusterError
from trainworthy.virtual.gpu import VirtualGpu


@pytest.fixture
def rank() -> Iterator[VirtualGpu]:
    with VirtualGpu(gpu_row("h100-sxm-80gb"), cluster=Cluster(world_size=16, gpus_per_node=8, rank=11)) as gpu:
        yield gpu


def test_environment_is_that_of_torchrun_and_of_slurm(rank: VirtualGpu) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "SLURM_PROCID", "SLURM_NNODES")
    assert [os.environ[name] for name in names] == ["11", "3", "16", "8", "1", "11", "2"]


def test_environment_is_put_back() -> None:
    before = dict(os.environ)
    with VirtualGpu(None, cluster=Cluster(world_size=2, gpus_per_node=2)):
        assert os.environ["WORLD_SIZE"] == "2"
    assert dict(os.environ) == before


def test_a_process_sees_the_gpus_of_its_node(rank: VirtualGpu) -> None:
    assert torch.cuda.device_count() == 8
    generators: Sequence[torch.Generator] = torch.cuda.default_generators  # torch's stub says: an empty tuple
    assert len(generators) == 8
    assert torch.zeros(1, device="cuda").device == torch.device("cuda", 0)
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    assert torch.zeros(1).cuda().device == torch.device("cuda", 3)
    with torch.cuda.device(5):
        assert torch.zeros(1, device="cuda").device.index == 5
    assert torch.cuda.current_device() == 3
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.zeros(1, device="cuda:8")


def test_groups_have_the_name_and_ranks_that_were_asked_for(rank: VirtualGpu) -> None:
    dist.init_process_group("nccl")
    group = dist.new_group([8, 9, 10, 11], backend="gloo")
    assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (11, 16, "nccl")
    assert (dist.get_rank(group), dist.get_backend(group)) == (3, "gloo")
    assert dist.new_group([0, 1]) == dist.GroupMember.NON_GROUP_MEMBER


def test_known_values_follow_the_assumption_that_ranks_agree(rank: VirtualGpu) -> None:
    dist.init_process_group("cpu:gloo,cuda:nccl")
    for device in ("cpu", "cuda"):
        x = torch.tensor([3.0], device=device)
        dist.all_reduce(x)
        assert x.item() == 48
        dist.all_reduce(x, op=dist.ReduceOp.AVG)
        assert x.item() == 48
        parts = [torch.zeros(1, device=device) for _ in range(16)]
        dist.all_gather(parts, x)
        assert [p.item() for p in parts] == [48.0] * 16
        out = torch.zeros(1, device=device)
        dist.reduce_scatter(out, list(torch.arange(16.0, device=device).chunk(16)))
        assert out.item() == 11 * 16


def test_collectives_are_recorded_with_bytes_root_and_wait(rank: VirtualGpu) -> None:
    dist.init_process_group("nccl")
    x = torch.zeros(1024, device="cuda")
    work = dist.all_reduce(x, async_op=True)
    y = x.new_zeros(2) + 1
    work.wait()
    dist.broadcast(x, src=4)
    tape = rank.tape()
    ops = [op for op in tape.ops if op.collective is not None or op.name == "c10d.wait"]
    assert [op.name for op in ops] == ["c10d.allreduce_", "c10d.wait", "c10d.broadcast_"]
    reduce, wait, broadcast = ops
    assert reduce.collective is not None
    assert broadcast.collective is not None
    assert (reduce.collective.kind, reduce.collective.reduce_op, reduce.collective.is_async) == (
        "all_reduce",
        "sum",
        True,
    )
    assert (reduce.collective.bytes_in, reduce.collective.bytes_out) == (4096, 4096)
    assert wait.inputs[0].storage == reduce.outputs[0].storage
    assert (broadcast.collective.peer, broadcast.collective.is_async) == (4, False)
    assert tape.groups[reduce.collective.group].ranks == tuple(range(16))
    assert y.shape == (2,)


def test_a_collective_on_another_stream_is_waited_for_through_its_event(rank: VirtualGpu) -> None:
    dist.init_process_group("nccl")
    side, x = torch.cuda.Stream(), torch.zeros(8, device="cuda")
    with torch.cuda.stream(side):
        dist.all_reduce(x)
        event = side.record_event()
    x.new_zeros(1)
    torch.cuda.current_stream().wait_event(event)
    names = [op.name for op in rank.tape().ops if op.collective is not None or op.name in {"c10d.wait", "new_zeros"}]
    assert names == ["c10d.allreduce_", "new_zeros", "c10d.wait"]


def test_ddp_reduces_buckets_in_reverse_and_not_under_no_sync(rank: VirtualGpu) -> None:
    dist.init_process_group("nccl")
    net = nn.Sequential(nn.Linear(512, 4096), nn.Linear(4096, 512)).cuda()
    model = nn.parallel.DistributedDataParallel(net, bucket_cap_mb=4)
    x = torch.zeros(2, 512, device="cuda")
    with model.no_sync():
        model(x).sum().backward()
    assert "c10d.allreduce_" not in {op.name for op in rank.tape().ops}
    for _ in range(2):
        model(x).sum().backward()
    collectives = [op.collective for op in rank.tape().ops]
    reduced = [c.bytes_in for c in collectives if c is not None and c.kind == "all_reduce"]
    weight, inner, outer = 512 * 4096 * 4, 4096 * 4, 512 * 4
    # One bucket at first; then the limit closes a bucket, in the order in which gradients came.
    assert reduced[0] == 2 * weight + inner + outer
    assert sum(reduced[1:]) == reduced[0]
    assert len(reduced[1:]) == 2


def test_an_unused_parameter_is_refused_at_the_next_iteration(rank: VirtualGpu) -> None:
    dist.init_process_group("nccl")
    net = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)]).cuda()
    net.forward = net[0].forward
    model = nn.parallel.DistributedDataParallel(net)
    model(torch.zeros(1, 4, device="cuda")).sum().backward()
    with pytest.raises(RuntimeError, match="finished reduction in the prior iteration"):
        model(torch.zeros(1, 4, device="cuda"))


@pytest.mark.parametrize(
    ("url", "rank_said", "size", "message"),
    [
        ("tcp://localhost:1", 0, 4, "a process group of 4 processes; the virtual cluster has 16"),
        ("tcp://localhost:1", 16, 16, "rank 16 of 16 processes"),
        ("tcp://localhost:1", 3, 16, "says that it is rank 3; this rehearsal is of rank 11"),
    ],
)
def test_other_worlds_are_refused(rank: VirtualGpu, url: str, rank_said: int, size: int, message: str) -> None:
    with pytest.raises(ClusterError, match=message):
        dist.init_process_group("nccl", init_method=url, rank=rank_said, world_size=size)


def test_without_a_cluster_the_message_says_how_to_get_one() -> None:
    with VirtualGpu(None), pytest.raises(ClusterError, match="RANK is not set") as raised:
        dist.init_process_group("nccl")
    assert "--world-size" in str(raised.value)


@pytest.mark.parametrize(
    ("world_size", "gpus_per_node", "number"), [(0, 8, 0), (8, 0, 0), (8, 8, 8), (8, 8, -1), (12, 8, 0)]
)
def test_clusters_that_cannot_be(world_size: int, gpus_per_node: int, number: int) -> None:
    with pytest.raises(UsageError):
        Cluster(world_size=world_size, gpus_per_node=gpus_per_node, rank=number)


def test_no_group_is_left_behind(rank: VirtualGpu) -> None:
    dist.init_process_group("nccl")
    rank._stack.close()
    assert not dist.is_initialized()


def test_a_result_that_only_a_future_held_is_let_go(rank: VirtualGpu) -> None:
    dist.init_process_group("nccl")
    before = torch.cuda.memory_allocated()
    work = dist.all_reduce(torch.zeros(1 << 20, device="cuda"), async_op=True)
    assert work is not None
    chained = work.get_future().then(lambda done: done.value()[0].numel())
    assert chained.wait() == 1 << 20
    del work, chained
    assert torch.cuda.memory_allocated() == before
