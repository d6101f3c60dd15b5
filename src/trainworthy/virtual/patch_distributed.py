"""``torch.distributed`` on the virtual cluster: process groups that send nothing, named as the script asked.

torch's own fake process group stands behind every group; what it is called (``nccl``, ``gloo``) is what the script
asked for. Collectives are answered by ``collectives.py`` before they reach it.
"""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d as c10d

from trainworthy.errors import TrainworthyError
from trainworthy.virtual import ddp
from trainworthy.virtual.patching import Patches

if TYPE_CHECKING:
    from trainworthy.virtual.cluster import Cluster
    from trainworthy.virtual.gpu import VirtualGpu


class ClusterError(TrainworthyError):
    """What the script asks of the cluster does not fit the one that it is rehearsed on."""


def distributed_patches(gpu: VirtualGpu) -> Patches:
    """Plan the changes to ``torch.distributed``."""
    from torch.testing._internal.distributed import fake_pg

    patches = Patches()
    helper = c10d._new_process_group_helper
    patches.set(c10d, "rendezvous", _rendezvous(gpu, fake_pg.FakeStore))
    for module in (dist, c10d):
        for name in ("is_nccl_available", "is_gloo_available"):
            patches.set(module, name, lambda: True)
        for name, function in _object_collectives(gpu).items():
            patches.set(module, name, function)
    patches.set(c10d, "default_pg_nccl_timeout", timedelta(minutes=10))
    patches.set(c10d, "_new_process_group_helper", _new_process_group(gpu, helper))
    patches.set(fake_pg.FakeProcessGroup, "supports_coalescing", property(lambda self: False))
    for name in ("TCPStore", "FileStore"):
        patches.set(dist, name, lambda *args, **kwargs: dist.HashStore())
    ddp.add_patches(patches, gpu)
    return patches


# --- process groups -----------------------------------------------------------------------------------------------


def _rendezvous(gpu: VirtualGpu, make_store: Callable[[], Any]) -> Callable[..., Iterator[tuple[Any, int, int]]]:
    """Stand in for the meeting of the processes: nobody else comes."""

    def rendezvous(url: str, rank: int = -1, world_size: int = -1, **options: Any) -> Iterator[tuple[Any, int, int]]:
        rank, world_size = _rank_and_size(url, rank, world_size)
        _check_size(gpu.cluster, rank, world_size)
        yield make_store(), rank, world_size

    return rendezvous


def _rank_and_size(url: str, rank: int, size: int) -> tuple[int, int]:
    """Work out rank and world size as torch's rendezvous does: arguments, the URL, the environment."""
    query = parse_qs(urlparse(url).query)
    if rank < 0:
        rank = int(query["rank"][0]) if "rank" in query else _from_environment("RANK")
    if size < 0:
        size = int(query["world_size"][0]) if "world_size" in query else _from_environment("WORLD_SIZE")
    return rank, size


def _check_size(cluster: Cluster | None, rank: int, size: int) -> None:
    """Refuse a process group that is not the cluster's."""
    if not 0 <= rank < size:
        raise ClusterError(
            f"The script says that it is rank {rank} of {size} processes.", where="init_process_group",
            fix=f"Ranks go from 0 to {size - 1}.",
        )  # fmt: skip
    if cluster is None and size > 1:
        raise ClusterError(
            f"The script makes a process group of {size} processes, and this rehearsal is of one GPU.",
            where="init_process_group", fix=f"Rehearse it as one rank of a cluster: --world-size {size}.",
        )  # fmt: skip
    if cluster is not None and size != cluster.world_size:
        raise ClusterError(
            f"The script makes a process group of {size} processes; the virtual cluster has {cluster.world_size}.",
            where="init_process_group", fix=f"Rehearse with --world-size {size}, or give the script the other number.",
        )  # fmt: skip
    if cluster is not None and rank != cluster.rank:
        raise ClusterError(
            f"The script says that it is rank {rank}; this rehearsal is of rank {cluster.rank}.",
            where="init_process_group", fix="Let the script read its rank from RANK, as torchrun sets it.",
        )  # fmt: skip


def _from_environment(name: str) -> int:
    value = os.environ.get(name)
    if value is None:
        raise ClusterError(
            f"The script asks for a process group, and {name} is not set: it expects to be started by torchrun.",
            where="init_process_group",
            fix="Rehearse it as torchrun would start it: --world-size N (and --gpus-per-node M).",
        )
    try:
        return int(value)
    except ValueError:
        raise ClusterError(f"{name} is {value!r}, not a number.", where="init_process_group") from None


def _new_process_group(gpu: VirtualGpu, raw: Callable[..., Any]) -> Callable[..., Any]:
    """Put torch's fake group behind every group, under the name of the backend that was asked for."""

    def new_process_group(
        group_size: int, group_rank: int, global_ranks: list[int], backend: Any, store: Any, group_name: Any,
        backend_options: Any = None, timeout: Any = None, pg_tag: Any = None, device_id: Any = None,
        group_desc: Any = None, **more: Any,
    ) -> Any:  # fmt: skip
        if not global_ranks:
            _check_size(gpu.cluster, group_rank, group_size)
        group, used = raw(
            group_size, group_rank, global_ranks, dist.Backend.FAKE, store, group_name, timeout=timeout,
            pg_tag=pg_tag, group_desc=group_desc, **more,
        )  # fmt: skip
        name = str(backend)
        if group is not None and group is not c10d.GroupMember.NON_GROUP_MEMBER and name != "fake":
            config = c10d.BackendConfig(c10d.Backend("cpu:gloo,cuda:nccl" if name == "undefined" else name))
            shown = config.get_device_backend_map().get("cuda", name)
            c10d._world.pg_map[group] = (c10d.Backend(shown), used)
            c10d._world.pg_backend_config[group] = str(config)
        return group, used

    return new_process_group


# --- objects --------------------------------------------------------------------------------------------------------


def _object_collectives(gpu: VirtualGpu) -> dict[str, Callable[..., Any]]:
    """Collectives of Python objects: the sizes and bytes travel as in torch, every rank holds the same object."""

    def tensors_of(obj: Any, group: Any) -> tuple[torch.Tensor, torch.Tensor]:
        data, size = c10d._object_to_tensor(obj, torch.device("cpu"), group)
        device = c10d._get_object_coll_device(group)
        return data.to(device), size.to(device)

    def root(group: Any, rank: Any, group_rank: Any) -> int:
        if rank is None and group_rank is None:
            return 0
        if group_rank is not None:
            return int(group_rank)
        return int(c10d.get_group_rank(group, rank))

    def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
        group = group or c10d._get_default_group()
        data, size = tensors_of(obj, group)
        sizes = torch.zeros(group.size(), dtype=torch.long, device=size.device)
        dist.all_gather([sizes[i].unsqueeze(0) for i in range(group.size())], size, group=group)
        every = torch.empty(data.numel() * group.size(), dtype=torch.uint8, device=data.device)
        dist.all_gather(list(every.chunk(group.size())), data, group=group)
        gpu.assume("objects gathered from other ranks are taken to equal the own one")
        for i in range(group.size()):
            object_list[i] = obj if i == group.rank() else copy.deepcopy(obj)

    def gather_object(
        obj: Any, object_gather_list: list[Any] | None = None, dst: Any = None, group: Any = None, group_dst: Any = None
    ) -> None:
        group = group or c10d._get_default_group()
        target = root(group, dst, group_dst)
        data, size = tensors_of(obj, group)
        sizes = torch.zeros(group.size(), dtype=torch.long, device=size.device)
        dist.all_gather([sizes[i].unsqueeze(0) for i in range(group.size())], size, group=group)
        parts = None
        if group.rank() == target:
            every = torch.empty(data.numel() * group.size(), dtype=torch.uint8, device=data.device)
            parts = list(every.chunk(group.size()))
        dist.gather(data, parts, dst=c10d.get_global_rank(group, target), group=group)
        if group.rank() == target and object_gather_list is not None:
            gpu.assume("objects gathered from other ranks are taken to equal the own one")
            for i in range(group.size()):
                object_gather_list[i] = obj if i == group.rank() else copy.deepcopy(obj)

    def broadcast_object_list(
        object_list: list[Any],
        src: Any = None,
        group: Any = None,
        device: Any = None,
        group_src: Any = None,
        **more: Any,
    ) -> None:
        group = group or c10d._get_default_group()
        source = c10d.get_global_rank(group, root(group, src, group_src))
        pairs = [tensors_of(obj, group) for obj in object_list]
        dist.broadcast(torch.cat([size for _, size in pairs]), src=source, group=group)
        dist.broadcast(torch.cat([data for data, _ in pairs]), src=source, group=group)
        if dist.get_rank() != source:
            gpu.assume(f"objects broadcast by rank {source} are unknown here: this rank keeps its own")

    def scatter_object_list(
        scatter_object_output_list: list[Any], scatter_object_input_list: list[Any] | None = None, src: Any = None,
        group: Any = None, group_src: Any = None,
    ) -> None:  # fmt: skip
        group = group or c10d._get_default_group()
        source = root(group, src, group_src)
        objects = scatter_object_input_list or [None] * group.size()
        pairs = [tensors_of(obj, group) for obj in objects]
        most = max(pairs, key=lambda pair: pair[0].numel())[0]
        dist.broadcast(pairs[0][1].clone(), src=c10d.get_global_rank(group, source), group=group)
        at_source = group.rank() == source
        for like in (most, pairs[0][1]):  # the objects, then their sizes
            parts = [torch.empty_like(like) for _ in objects] if at_source else None
            dist.scatter(torch.empty_like(like), parts, src=c10d.get_global_rank(group, source), group=group)
        if at_source:
            scatter_object_output_list[0] = objects[group.rank()]
        else:
            gpu.assume("objects scattered by another rank are unknown here: this rank keeps its own")

    return {
        "all_gather_object": all_gather_object, "gather_object": gather_object,
        "broadcast_object_list": broadcast_object_list, "scatter_object_list": scatter_object_list,
    }  # fmt: skip


def group_torn_down() -> None:
    """Leave no process group behind when a rehearsal in this process ends."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    if "torch.distributed.device_mesh" in sys.modules:
        resources = sys.modules["torch.distributed.device_mesh"]
        if hasattr(resources, "_mesh_resources"):
            resources._mesh_resources.mesh_stack.clear()
