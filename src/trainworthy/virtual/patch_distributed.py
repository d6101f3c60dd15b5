"""``torch.distributed`` on the virtual cluster: process groups that send nothing, named as the script asked.

torch's own fake process group stands behind every group; what it is called (``nccl``, ``gloo``) is what the script
asked for. Collectives are answered by ``collectives.py`` before they reach it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlparse

import torch.distributed as dist
from torch._C._distributed_c10d import FakeProcessGroup, HashStore
from torch.distributed import distributed_c10d as c10d

from trainworthy.virtual import ddp
from trainworthy.virtual.cluster import Cluster, ClusterError
from trainworthy.virtual.object_collectives import ObjectCollectives
from trainworthy.virtual.patching import Patches

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu


def distributed_patches(gpu: VirtualGpu) -> Patches:
    """Plan the changes to ``torch.distributed``."""
    from torch.testing._internal.distributed import fake_pg

    patches = Patches()
    helper = c10d._new_process_group_helper
    patches.set(c10d, "rendezvous", _rendezvous(gpu, fake_pg.FakeStore))
    for module in (dist, c10d):
        for name in ("is_nccl_available", "is_gloo_available"):
            patches.set(module, name, lambda: True)
        for name, function in ObjectCollectives(gpu).functions().items():
            patches.set(module, name, function)
    patches.set(c10d, "default_pg_nccl_timeout", timedelta(minutes=10))
    patches.set(c10d, "_set_pg_timeout", lambda timeout, group=None: None)  # looks for classes a CPU build lacks
    patches.set(c10d, "_new_process_group_helper", _new_process_group(gpu, helper))
    patches.set(FakeProcessGroup, "supports_coalescing", property(lambda self: False))
    for name in ("TCPStore", "FileStore"):
        patches.set(dist, name, lambda *args, **kwargs: HashStore())
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


def group_torn_down() -> None:
    """Leave no process group behind when a rehearsal in this process ends."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    if "torch.distributed.device_mesh" in sys.modules:
        resources = sys.modules["torch.distributed.device_mesh"]
        if hasattr(resources, "_mesh_resources"):
            resources._mesh_resources.mesh_stack.clear()
