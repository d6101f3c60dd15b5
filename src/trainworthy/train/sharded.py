"""Tensors that are spread over ranks, to and from a checkpoint: torch's distributed checkpoint, as safetensors files.

Each rank writes the shards it holds, one file a rank, and reads what its shards need from whichever files have it, so
the ranks that load may be more or fewer than those that wrote, or a single process without any sharding.

Torch's parts are imported late: they cost 0.7 s, which only a sharded run needs to pay.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainworthy.train.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

FOLDER = "shards"


def is_sharded(tensor: torch.Tensor) -> bool:
    """Return whether a tensor is spread over ranks."""
    return hasattr(tensor, "placements")


def write(folder: Path, tensors: Mapping[str, torch.Tensor], ranks: Ranks) -> list[Path]:
    """Write this rank's shards into ``folder/shards``; all ranks have to call it.

    Returns:
        The files that this rank wrote.

    Raises:
        OSError: A rank could not write; every rank raises it.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder / FOLDER), save_distributed=True)
    try:
        with _quiet(ranks):
            save(dict(tensors), storage_writer=writer, process_group=ranks.group, no_dist=ranks.group is None)
    except CheckpointException as error:  # a BaseException, for no reason that would help here
        raise OSError(_causes(error)) from error
    return sorted((folder / FOLDER).glob(f"shard-{ranks.rank + 1:05d}-*.safetensors"))


def staged(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a copy in the CPU's memory, sharded alike."""
    from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

    stager = DefaultStager(StagingOptions(False, False, False, False))  # plain memory, copied when this returns
    return stager.stage(dict(tensors))  # type: ignore[return-value]


def read(folder: Path, targets: dict[str, torch.Tensor], ranks: Ranks) -> None:
    """Fill tensors, sharded or whole, from ``folder/shards``; all ranks have to call it.

    Raises:
        OSError: A rank could not read.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(folder / FOLDER))
    try:
        with _quiet(ranks):
            load(dict(targets), storage_reader=reader, process_group=ranks.group, no_dist=ranks.group is None)
    except CheckpointException as error:
        raise OSError(_causes(error)) from error


@contextlib.contextmanager
def _quiet(ranks: Ranks) -> Iterator[None]:
    """Leave out torch's warning that a run of one process is a run of one process."""
    if ranks.group is not None:
        yield
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"torch\.distributed is (disabled|unavailable)")
        yield


def _causes(error: Any) -> str:
    failures = error.failures  # rank -> (exception, traceback)
    return "; ".join(f"rank {rank}: {failure[0]}" for rank, failure in sorted(failures.items()))


def template(name: str, shape: torch.Size, like: Mapping[str, torch.Tensor] | None) -> DTensor | None:
    """Return the parameter whose sharding a saved tensor has, or None where it is not sharded.

    That is the parameter, by name, that occurs in the tensor's path and has its shape: the weight itself, its average,
    its optimizer's moments.
    """
    for part in name.split("/"):
        parameter = (like or {}).get(part)
        if parameter is not None and parameter.shape == shape and is_sharded(parameter):
            return parameter  # type: ignore[return-value]
    return None


def empty_like(parameter: DTensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a tensor with a parameter's sharding."""
    return torch.zeros_like(parameter, dtype=dtype, requires_grad=False)


def distribute(whole: torch.Tensor, parameter: DTensor) -> torch.Tensor:
    """Return this rank's shard of a tensor that every rank has whole."""
    from torch.distributed.tensor import distribute_tensor

    device = parameter.to_local().device
    return distribute_tensor(whole.to(device), parameter.device_mesh, parameter.placements, src_data_rank=None)
