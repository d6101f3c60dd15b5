"""Virtual ranks of N: in this process, or each in a process of its own."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from distributed.gloo import run_ranks
from trainworthy import load_tape
from trainworthy.tape.record import Tape
from trainworthy.virtual.cluster import Cluster
from trainworthy.virtual.gpu import VirtualGpu


def rehearse_rank(
    function: Callable[[], object], world_size: int, rank: int = 0, *, gpus_per_node: int | None = None,
    imitate_cpu: bool = True,
) -> Tape:  # fmt: skip
    """Call ``function`` as one rank; by default all ranks are on one node, as on this machine."""
    gc.collect()
    cluster = Cluster(world_size=world_size, gpus_per_node=gpus_per_node or world_size, rank=rank)
    with VirtualGpu(imitate_cpu=imitate_cpu, cluster=cluster) as gpu:
        function()
    return gpu.tape()


def rehearse_ranks(
    function: Callable[[], object], world_size: int, folder: Path, *, limit_s: float = 60.0
) -> list[Tape]:
    """Call ``function`` as every rank, each in a process of its own, and return the tapes by rank."""
    run_ranks(partial(_saved, function, world_size, folder), world_size, folder, limit_s=limit_s)
    return [load_tape(folder / f"rank{rank}.tape") for rank in range(world_size)]


def _saved(function: Callable[[], object], world_size: int, folder: Path) -> None:
    rank = int(os.environ["RANK"])
    rehearse_rank(function, world_size, rank).save(folder / f"rank{rank}.tape")
