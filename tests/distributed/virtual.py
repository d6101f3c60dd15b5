"""Virtual ranks of N: one in this process, or all of them, each in a process of its own."""

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
from trainworthy.virtual.mailbox import ENDED, MAIL, Mailbox, scratch_of


def rehearse_rank(
    function: Callable[[], object], world_size: int, rank: int = 0, *, gpus_per_node: int | None = None,
    mailbox: Mailbox | None = None,
) -> Tape:  # fmt: skip
    """Call ``function`` as one rank, all on one node by default; memory is counted in exact bytes, as on a CPU."""
    gc.collect()
    cluster = Cluster(world_size=world_size, gpus_per_node=gpus_per_node or world_size, rank=rank)
    with VirtualGpu(imitate_cpu=True, cluster=cluster, mailbox=mailbox) as gpu:
        function()
    return gpu.tape()


def rehearse_ranks(
    function: Callable[[], object], world_size: int, folder: Path, *, limit_s: float = 60.0
) -> list[Tape]:
    """Call ``function`` as every rank, in processes that pass small values on, and return the tapes by rank."""
    run_ranks(partial(_saved, function, world_size, folder), world_size, folder, limit_s=limit_s)
    return [load_tape(folder / f"rank{rank}.tape") for rank in range(world_size)]


def _saved(function: Callable[[], object], world_size: int, folder: Path) -> None:
    rank = int(os.environ["RANK"])
    mailbox = Mailbox(str(folder), rank)
    try:
        rehearse_rank(function, world_size, rank, mailbox=mailbox).save(folder / f"rank{rank}.tape")
    finally:
        (scratch_of(folder, rank) / MAIL / ENDED).touch()
