"""Where this process stands among the processes of a run, and the few numbers they exchange in a step.

They travel by the CPU (the default group needs a backend for it, as ``cpu:gloo,cuda:nccl`` has), so that they never
wait for the device's queue. A run of one process exchanges none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from trainworthy.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The places of this process.

    Attributes:
        rank: This process, from 0.
        world: Processes in all.
        data: Ranks that read different data: ``world`` over ``tensor`` and ``pipeline``.
        tensor: Ranks that share each layer.
        pipeline: Ranks that share the depth of the model.
        mesh: The device mesh with the axes ``data``, ``tensor`` and ``pipeline``; None in a run of one process.
    """

    rank: int = 0
    world: int = 1
    data: int = 1
    tensor: int = 1
    pipeline: int = 1
    mesh: Any = None

    @property
    def data_rank(self) -> int:
        """Which share of the data this rank reads; ranks of one tensor or pipeline group read the same."""
        return self.rank // (self.tensor * self.pipeline)

    @property
    def first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def gather(self, values: list[float]) -> list[list[float]]:
        """Return the numbers of all ranks, by rank."""
        if self.world == 1:
            return [values]
        own = torch.tensor(values, dtype=torch.float64)
        everyones = own.new_empty(self.world * len(values))  # flat: gloo takes no other shape
        distributed.all_gather_into_tensor(everyones, own)
        rows: list[list[float]] = everyones.view(self.world, -1).tolist()
        return rows

    def gather_objects(self, value: Any) -> list[Any]:
        """Return the (small, picklable) objects of all ranks, by rank."""
        if self.world == 1:
            return [value]
        everyones: list[Any] = [None] * self.world
        distributed.all_gather_object(everyones, value)
        return everyones

    def sum(self, table: Tensor) -> Tensor:
        """Return the sum over the ranks that read different data, of a tensor on the CPU."""
        if self.world > 1:
            distributed.all_reduce(table)
            table /= self.tensor * self.pipeline
        return table


def find_layout(*, device: torch.device, tensor: int = 1, pipeline: int = 1) -> Layout:
    """Return the places of this process in the default process group, if there is one.

    Ranks next to each other share layers (the fastest links), then stages, then read different data.

    Raises:
        UsageError: The ranks cannot be divided so.
    """
    world = distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1
    if world % (tensor * pipeline):
        raise UsageError(
            f"{world} ranks cannot be divided into groups of {tensor} (tensor parallel) x {pipeline} (pipeline).",
            where="train.tensor_parallel, train.pipeline_parallel",
            fix="Start a number of processes that is a multiple of their product.",
        )
    if world == 1:
        return Layout()
    from torch.distributed.device_mesh import init_device_mesh

    data = world // (tensor * pipeline)
    mesh = init_device_mesh(device.type, (data, pipeline, tensor), mesh_dim_names=("data", "pipeline", "tensor"))
    rank = distributed.get_rank()
    return Layout(rank=rank, world=world, data=data, tensor=tensor, pipeline=pipeline, mesh=mesh)
