"""Checkpoints that a run can trust: written aside and renamed, verified before they are loaded, never a pickle.

::

    checkpoints/
        step-00000100/
            manifest.json         written last: every file with size and checksum, the position, the configuration
            state.json            the state without its tensors
            tensors.safetensors   tensors that every rank has whole
            shards/               tensors that are spread over ranks: a file a rank
        step-00000200.tmp/        being written; never read, removed at the next start
        step-00000150.damaged/    was found damaged, and set aside

Which one is loaded is the newest that is whole; all ranks agree on it. A disk that is full (or any other error of
writing) never touches the checkpoints that are there: a checkpoint on the way is given up with a warning and the run
goes on; only where the *last* state of a run cannot be saved does the run end with an error.
"""

from __future__ import annotations

import datetime
import json
import platform
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainworthy._version import __version__
from trainworthy.errors import TrainError, UsageError
from trainworthy.train import manifest as manifests
from trainworthy.train import sharded
from trainworthy.train.checkpoint_folder import Folder
from trainworthy.train.checkpoint_write import TENSORS, TREE, Job, Writer, snapshot
from trainworthy.train.manifest import Manifest
from trainworthy.train.ranks import Ranks
from trainworthy.train.state_tree import State, pack, unpack


class CheckpointWarning(UserWarning):
    """A checkpoint was skipped or could not be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a checkpoint holds.

    Attributes:
        state: As it was given to :meth:`Checkpoints.save`; tensors on the CPU, or sharded as ``like`` said.
        per_rank: What this rank gave; None where the number of ranks is another now.
        manifest: What the checkpoint says of itself.
        notes: In what the run differs from the one that saved, so that it is not bit-equal to an uninterrupted one.
    """

    state: State
    per_rank: State | None
    manifest: Manifest
    notes: tuple[str, ...]


class Checkpoints:
    """The checkpoints of one run. Every method has to be called by all ranks together.

    Args:
        folder: Where they are; made when the first is saved. All ranks must see the same folder.
        ranks: Who saves.
        keep: How many of the newest are kept, at least 1; the best is kept besides.
        background: Write in a thread while the training goes on; one at a time, from a copy in the CPU's memory.
        exactness: What a continued run must have in common (seed, batch size, ...) to be bit-equal; differences
            become ``Loaded.notes``.
        config: The run's configuration, for the manifest.
        warn: What to do with a warning (called on rank 0 only); None: ``warnings.warn``.

    Attributes:
        newest: Step of the checkpoint that was found or written last; None: there is none.

    Raises:
        UsageError: ``keep`` is less than 1.
        TrainError: Another run uses the folder.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ranks: Ranks | None = None,
        keep: int = 3,
        background: bool = False,
        exactness: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        if keep < 1:
            raise UsageError(f"keep_checkpoints is {keep}; it must be at least 1.", where="train.keep_checkpoints")
        self._ranks = ranks or Ranks()
        self._folder = Folder(folder, keep)
        self._background = background
        self._exactness, self._config = dict(exactness or {}), dict(config or {})
        self._warn_by = warn or (lambda text: warnings.warn(text, CheckpointWarning, stacklevel=3))
        self._writer: Writer | None = None
        self._thread_ranks: Ranks | None = None
        self.newest: int | None = None
        self._first_rank_does(self._folder.open)

    # --- which one is loaded ---

    def find(self, resume: str = "auto") -> Path | None:
        """Return the checkpoint to go on from; None: begin anew.

        Args:
            resume: ``auto``: the newest that is whole; ``never``: refuse a folder that has any; else a path.

        Raises:
            TrainError: ``never``, and there is one; ``auto``, and there are some but none is whole; or the one that
                was named is not whole.
        """
        if resume not in {"auto", "never"}:
            return self._named(Path(resume))
        candidates = self._ranks.from_first(self._folder.names() if self._ranks.rank == 0 else [])
        if resume == "never":
            if candidates:
                raise TrainError(
                    f"The folder has checkpoints already, the newest {candidates[-1]}.",
                    where=str(self._folder.path),
                    fix="Give another folder, or train.resume=auto to go on from it.",
                )
            return None
        skipped = []
        for name in reversed(candidates):
            found = self._problems(self._folder.path / name, step=Folder.step(name))
            if not found:
                self.newest = Folder.step(name)
                return self._folder.path / name
            skipped.append(f"{name}: {found[0]}")
            self._warn(f"Checkpoint {name} is skipped and set aside: {'; '.join(found)}.")
            self._first_rank_does(lambda name=name: self._folder.set_aside(name, "damaged"))  # type: ignore[misc]
        damaged = self._ranks.from_first(self._folder.damaged() if self._ranks.rank == 0 else [])
        if damaged:
            raise TrainError(
                f"No checkpoint is whole ({'; '.join(skipped) or ', '.join(damaged)}).",
                where=str(self._folder.path),
                fix="Restore one from elsewhere, or remove the damaged folders to begin anew.",
            )
        return None

    def _named(self, path: Path) -> Path:
        found = self._problems(path)
        if found:
            raise TrainError(f"The checkpoint is not whole: {'; '.join(found)}.", where=str(path))
        if path.resolve().parent == self._folder.path.resolve():
            # What was saved after it is of a future that this run will not have.
            step = self.newest = manifests.read(path).step
            later = [name for name in self._folder.names() if Folder.step(name) > step]
            for name in self._ranks.from_first(later):
                self._warn(f"Checkpoint {name} is later than the one the run goes on from, and is set aside.")
                self._first_rank_does(lambda name=name: self._folder.set_aside(name, "superseded"))  # type: ignore[misc]
        return path

    def _problems(self, path: Path, *, step: int | None = None) -> list[str]:
        mine = list(manifests.problems(path, step=step, rank=self._ranks.rank, ranks=self._ranks.size))
        return list(dict.fromkeys(text for texts in self._ranks.gather(mine) for text in texts))

    # --- loading ---

    def load(self, path: Path, *, like: Mapping[str, torch.Tensor] | None = None) -> Loaded:
        """Load a checkpoint that :meth:`find` returned.

        Args:
            path: Its folder.
            like: The model's parameters by name, where they are sharded: what was saved of a parameter (itself, its
                average, its optimizer's moments) is sharded alike, whatever the sharding was when it was saved.
        """
        manifest = manifests.read(path)
        content = json.loads((path / TREE).read_text(encoding="utf-8"))
        tensors = self._load_tensors(path, content["shards"], like)
        state = unpack(content["tree"], tensors.__getitem__)
        per_rank = state["ranks"][self._ranks.rank] if manifest.ranks == self._ranks.size else None
        return Loaded(state=state["run"], per_rank=per_rank, manifest=manifest, notes=tuple(self._notes(manifest)))

    def _load_tensors(
        self, path: Path, shards: Mapping[str, Any], like: Mapping[str, torch.Tensor] | None
    ) -> dict[str, torch.Tensor]:
        from safetensors.torch import load_file

        tensors = dict(load_file(path / TENSORS))
        for name, tensor in tensors.items():
            parameter = sharded.template(name, tensor.shape, like)
            if parameter is not None:
                tensors[name] = sharded.distribute(tensor, parameter)
        targets = {}
        for name, (dtype, shape) in shards.items():
            parameter = sharded.template(name, torch.Size(shape), like)
            kind = getattr(torch, dtype)
            targets[name] = torch.empty(shape, dtype=kind) if parameter is None else sharded.empty_like(parameter, kind)
        if targets:
            sharded.read(path, targets, self._ranks)
        return tensors | targets

    def _notes(self, manifest: Manifest) -> list[str]:
        now = {**self._exactness, "ranks": self._ranks.size, "torch": torch.__version__}
        before = {**manifest.exactness, "ranks": manifest.ranks, "torch": manifest.versions.get("torch")}
        return [f"{key} was {before.get(key)!r} and is {now[key]!r}" for key in now if before.get(key) != now[key]]

    # --- saving ---

    def save(
        self,
        state: State,
        *,
        step: int,
        sample: int,
        epoch: int = 0,
        per_rank: State = None,
        score: float | None = None,
        best: bool = False,
        final: bool = False,
    ) -> None:
        """Save the state after ``step`` steps.

        Args:
            state: Nested dicts, lists and tuples of tensors and plain data (see :mod:`state_tree`).
            step: Optimizer steps done.
            sample: Number of the next sample.
            epoch: Its epoch.
            per_rank: What only this rank has: the state of its generators and of its data.
            score: What the best is decided by.
            best: It is the best so far: kept until there is a better one.
            final: The run ends with it: it is written at once, also in the background mode, and has to succeed.

        Raises:
            TrainError: It is the final one and could not be written.
            UsageError: The state holds something that is neither a tensor nor plain data.
        """
        self.wait()
        tensors, tree = pack({"run": state, "ranks": self._ranks.gather(_to_cpu(per_rank))})
        background = self._background and not final
        shards = {name: tensor for name, tensor in tensors.items() if sharded.is_sharded(tensor)}
        whole = {name: tensor for name, tensor in tensors.items() if name not in shards}
        job = Job(
            folder=self._folder,
            ranks=self._ranks,
            whole=snapshot(whole, copy=background) if self._ranks.rank == 0 else {},
            shards=snapshot(shards, copy=background),
            tree=tree,
            manifest=Manifest(
                step=step,
                sample=sample,
                epoch=epoch,
                ranks=self._ranks.size,
                sharded=bool(shards),
                best=best,
                score=score,
                exactness=self._exactness,
                config=self._config,
                versions={"trainworthy": __version__, "torch": torch.__version__, "python": platform.python_version()},
                saved_at=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            ),
        )
        if background and shards and self._ranks.group is not None:
            job.ranks = self._thread_ranks = self._thread_ranks or self._ranks.copy()
        self._writer = Writer(job, background=background)
        if not background:
            self._finish(final=final)

    def wait(self) -> None:
        """Wait for the checkpoint that is being written in the background, if one is; warn if it failed."""
        self._finish(final=False)

    def close(self) -> None:
        """Wait, and let another run use the folder."""
        self.wait()
        self._folder.close()

    def _finish(self, *, final: bool) -> None:
        if self._writer is None:
            return
        writer, self._writer = self._writer, None
        problem = self._ranks.from_first(writer.result())
        if problem is None:
            self.newest = writer.step
            return
        text = f"Checkpoint {writer.name} was not written: {problem}."
        if final:
            newest = (self._folder.names() or ["none"])[-1]
            raise TrainError(
                f"{text} The last state of the run is lost; the newest checkpoint is {newest}.",
                where=str(self._folder.path),
                fix="Make room there and start the same command again.",
            )
        self._warn(f"{text} The run goes on; the checkpoints before are untouched.")

    def _warn(self, text: str) -> None:
        if self._ranks.rank == 0:
            self._warn_by(text)

    def _first_rank_does(self, action: Callable[[], object]) -> None:
        error = None
        if self._ranks.rank == 0:
            try:
                action()
            except (OSError, TrainError) as caught:
                error = caught
        error = self._ranks.from_first(error)
        if isinstance(error, OSError):
            raise TrainError(f"The folder of checkpoints cannot be used: {error}.", where=str(self._folder.path))
        if error is not None:
            raise error


def _to_cpu(state: State) -> State:
    """Return a copy of a state of one rank that can be sent to another one."""
    tensors, tree = pack(state)
    return unpack(tree, {name: tensor.cpu() for name, tensor in tensors.items()}.__getitem__)
