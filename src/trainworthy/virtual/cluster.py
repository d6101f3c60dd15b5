"""The virtual cluster: this process is one rank of many, and every other rank is taken to do the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from trainworthy.errors import TrainworthyError, UsageError

_MASTER_PORT = "29500"


class ClusterError(TrainworthyError, RuntimeError):
    """What the script asks of the cluster does not fit the one that it is rehearsed on."""

    @property
    def trainworthy_fix(self) -> str | None:
        """What to do, for the description of what a script raised."""
        return self.fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """``world_size`` processes, one a GPU, ``gpus_per_node`` of them on a machine; this one is ``rank``."""

    world_size: int
    gpus_per_node: int
    rank: int = 0

    def __post_init__(self) -> None:
        if self.world_size < 1:
            raise UsageError(f"A cluster has at least one GPU, not {self.world_size}.", where="--world-size")
        if self.gpus_per_node < 1:
            raise UsageError(f"A node has at least one GPU, not {self.gpus_per_node}.", where="--gpus-per-node")
        if not 0 <= self.rank < self.world_size:
            raise UsageError(
                f"There is no rank {self.rank} in a world of {self.world_size}.", where="--rank",
                fix=f"Ranks go from 0 to {self.world_size - 1}.",
            )  # fmt: skip
        if self.world_size > self.gpus_per_node and self.world_size % self.gpus_per_node:
            raise UsageError(
                f"{self.world_size} GPUs do not fill nodes of {self.gpus_per_node}.", where="--gpus-per-node",
                fix="torchrun starts the same number of processes on every node: let it divide --world-size.",
            )  # fmt: skip

    @property
    def local_rank(self) -> int:
        """Number of the process, and of its GPU, on its node."""
        return self.rank % self.gpus_per_node

    @property
    def node(self) -> int:
        """Number of the node."""
        return self.rank // self.gpus_per_node

    @property
    def num_nodes(self) -> int:
        """How many nodes there are."""
        return -(-self.world_size // self.gpus_per_node)

    @property
    def processes_per_node(self) -> int:
        """How many processes run on each node."""
        return min(self.gpus_per_node, self.world_size)

    def environment(self) -> dict[str, str]:
        """Return what torchrun sets, and what SLURM does for one task a GPU.

        Source: torch/distributed/elastic/agent/server/local_elastic_agent.py; srun(1), output environment variables.
        """
        rank, local, world = str(self.rank), str(self.local_rank), str(self.world_size)
        per_node, nodes, node = str(self.processes_per_node), str(self.num_nodes), str(self.node)
        return {
            "RANK": rank, "LOCAL_RANK": local, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": per_node,
            "GROUP_RANK": node, "GROUP_WORLD_SIZE": nodes, "ROLE_RANK": rank, "ROLE_WORLD_SIZE": world,
            "ROLE_NAME": "default", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _MASTER_PORT,
            "TORCHELASTIC_RUN_ID": "rehearsal", "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_MAX_RESTARTS": "0",
            "TORCHELASTIC_USE_AGENT_STORE": "False", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "SLURM_PROCID": rank, "SLURM_LOCALID": local, "SLURM_NTASKS": world, "SLURM_NPROCS": world,
            "SLURM_NNODES": nodes, "SLURM_JOB_NUM_NODES": nodes, "SLURM_NODEID": node,
            "SLURM_NTASKS_PER_NODE": per_node, "SLURM_TASKS_PER_NODE": per_node, "SLURM_GPUS_ON_NODE": per_node,
            "SLURM_JOB_NODELIST": "localhost", "SLURM_NODELIST": "localhost", "SLURM_JOB_ID": "1",
        }  # fmt: skip

    @contextmanager
    def entered(self) -> Iterator[Cluster]:
        """Set the environment variables while the context is open."""
        added = self.environment()
        before = {name: os.environ.get(name) for name in added}
        os.environ.update(added)
        try:
            yield self
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
