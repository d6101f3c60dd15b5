"""How a checkpoint gets onto the disk: one job, run here or in a thread, whose errors of writing are an answer."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainworthy.train import manifest as manifests
from trainworthy.train import sharded
from trainworthy.train.checkpoint_folder import Folder
from trainworthy.train.manifest import FileFacts, Manifest
from trainworthy.train.ranks import Ranks

TENSORS, TREE = "tensors.safetensors", "state.json"


def snapshot(tensors: Mapping[str, torch.Tensor], *, copy: bool) -> dict[str, torch.Tensor]:
    """Return tensors on the CPU, each with memory of its own.

    Args:
        tensors: Tensors, all sharded or none.
        copy: The tensors change while the snapshot is used.
    """
    if any(sharded.is_sharded(tensor) for tensor in tensors.values()):
        return sharded.staged(tensors) if copy else dict(tensors)
    taken: set[int] = set()
    return {name: _own(tensor.detach(), taken, copy=copy) for name, tensor in tensors.items()}


def _own(tensor: torch.Tensor, taken: set[int], *, copy: bool) -> torch.Tensor:
    result = tensor.cpu().contiguous()
    storage = result.untyped_storage()
    is_live = storage.data_ptr() == tensor.untyped_storage().data_ptr()
    is_part = storage.nbytes() != result.numel() * result.element_size()
    if is_part or storage.data_ptr() in taken or (copy and is_live):
        return result.clone(memory_format=torch.contiguous_format)
    taken.add(storage.data_ptr())
    return result


@dataclass(slots=True, kw_only=True)
class Job:
    """One checkpoint, taken apart and ready to be written.

    Attributes:
        folder: Where.
        ranks: Who writes; their messages must not get mixed up with others'.
        whole: Tensors that rank 0 writes.
        shards: Tensors of which every rank writes its part.
        tree: The state without its tensors.
        manifest: What is known before the files are.
    """

    folder: Folder
    ranks: Ranks
    whole: dict[str, torch.Tensor]
    shards: dict[str, torch.Tensor]
    tree: Any
    manifest: Manifest


class Writer:
    """Writes a checkpoint.

    Args:
        job: What to write.
        background: Do it in a thread.
    """

    def __init__(self, job: Job, *, background: bool) -> None:
        self.step = job.manifest.step
        self.name = Folder.name(self.step)
        self._job = job
        self._problem: str | None = None
        self._bug: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"checkpoint {self.name}") if background else None
        if self._thread is None:
            self._problem = write(job)
        else:
            self._thread.start()

    def _run(self) -> None:
        try:
            self._problem = write(self._job)
        except BaseException as error:
            self._bug = error

    def result(self) -> str | None:
        """Wait for the end; return why nothing was written, or None."""
        if self._thread is not None:
            self._thread.join()
        if self._bug is not None:
            raise self._bug
        return self._problem


def write(job: Job) -> str | None:
    """Write a checkpoint; return why it could not be written, or None. All ranks call it.

    Where tensors are sharded, the ranks agree on the answer; else only rank 0 knows it.
    """
    first, together, step = job.ranks.rank == 0, bool(job.shards), job.manifest.step
    if not first and not together:
        return None
    problem = _tried(lambda: job.folder.begin(step)) if first else None
    problem = job.ranks.from_first(problem) if together else problem
    facts: dict[str, FileFacts] = {}
    if problem is None:
        problem = _tried(lambda: facts.update(_own_files(job, job.folder.temporary(step))))
    words = job.ranks.gather((problem, facts)) if together else [(problem, facts)]
    problem = "; ".join(dict.fromkeys(text for text, _ in words if text is not None)) or None
    if first and problem is None:
        files = {name: fact for _, facts in words for name, fact in facts.items()}
        problem = _tried(lambda: _commit(job, dict(sorted(files.items()))))
    if first and problem is not None:
        job.folder.discard(step)
    return job.ranks.from_first(problem) if together else problem


def _own_files(job: Job, folder: Path) -> dict[str, FileFacts]:
    """Write this rank's files, and wait until the disk has them."""
    from safetensors.torch import save_file

    written = []
    if job.shards:  # first, because all ranks do it together
        written = sharded.write(folder, job.shards, job.ranks)
    if job.ranks.rank == 0:
        save_file(job.whole, folder / TENSORS)
        content = {"tree": job.tree, "shards": {name: _description(each) for name, each in job.shards.items()}}
        (folder / TREE).write_text(json.dumps(content), encoding="utf-8")
        written += [folder / TENSORS, folder / TREE]
    for path in written:
        manifests.synced(path)
    return {path.relative_to(folder).as_posix(): manifests.file_facts(path) for path in written}


def _description(tensor: torch.Tensor) -> list[Any]:
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]


def _commit(job: Job, files: dict[str, FileFacts]) -> None:
    folder = job.folder.temporary(job.manifest.step)
    manifests.write(folder, dataclasses.replace(job.manifest, files=files))
    for inner in {(folder / name).parent for name in files} | {folder}:
        manifests.synced(inner)
    job.folder.commit(job.manifest.step)


def _tried(action: Callable[[], object]) -> str | None:
    """Return why the disk would not have it, or None; any other error is a fault of the program."""
    from safetensors import SafetensorError

    try:
        action()
    except (OSError, SafetensorError) as error:
        return str(error)
    return None
