"""One virtual rank of N in this process, on the virtual device that imitates the CPU or on a virtual GPU."""

from __future__ import annotations

import gc
from collections.abc import Callable

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
