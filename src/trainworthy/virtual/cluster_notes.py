"""What only a look at several ranks can judge, noted on each: data, samplers, groups, wrapped models.

Every note is plain data and goes into the tape's notes; ``inspect`` compares them between ranks.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from trainworthy.virtual.effects_imports import when_imported
from trainworthy.virtual.patching import Patches
from trainworthy.virtual.tensors import raw_is_meta

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_BATCHES_NOTED = 2  # of every loader
_DIGEST_ELEMENTS = 1 << 14  # of every tensor


class ClusterNotes:
    """Collects the notes of one rank."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._gpu = gpu
        self._models: list[tuple[weakref.ref[Any], dict[str, Any]]] = []
        self._samplers: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()
        self._sampler_notes: list[dict[str, Any]] = []
        self._loaders: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()
        self._batches: list[dict[str, Any]] = []
        self._fetched: list[dict[str, Any]] = []
        self._forwards = 0
        self._groups: list[dict[str, Any]] = []
        self._data_parallel: list[list[int]] = []

    def patches(self) -> Patches:
        """Plan what has to be watched."""
        patches = Patches()
        self._gpu.recorder.modules.on_root_enter.append(self._root_enters)
        self._watch_ddp(patches)
        self._watch_samplers(patches)
        self._watch_loaders(patches)
        notes = self

        def watch_fsdp(module: Any) -> None:
            _NOW.notes = weakref.ref(notes)
            _follow_fsdp(module)

        when_imported("torch.distributed.fsdp._fully_shard._fsdp_param_group", watch_fsdp)
        return patches

    def collected(self) -> dict[str, Any]:
        """Return the notes so far."""
        return {
            "ddp": [note for _, note in self._models], "samplers": list(self._sampler_notes),
            "batches": list(self._batches), "groups_created": list(self._groups),
            "data_parallel": [list(ranks) for ranks in self._data_parallel],
            **self._unused(),
        }  # fmt: skip

    # --- groups -----------------------------------------------------------------------------------

    def group_made(self, ranks: list[int], name: str) -> None:
        """Note a process group; ``name`` is a number unless only its members took part in making it."""
        self._groups.append({"ranks": list(ranks), "local": not name.isdigit(), **self._place()})

    def gradients_averaged(self, ranks: list[int]) -> None:
        """Note ranks that see parts of one batch."""
        if ranks not in self._data_parallel:
            self._data_parallel.append(ranks)

    def _place(self) -> dict[str, Any]:
        number, _ = self._gpu.recorder.finder.find(sys._getframe(2))
        source = self._gpu.recorder.finder.sources[number]
        return {"path": source.path or None, "line": source.line or None}

    # --- models -----------------------------------------------------------------------------------

    def _watch_ddp(self, patches: Patches) -> None:
        run: Any = DistributedDataParallel._run_ddp_forward
        init, notes = DistributedDataParallel.__init__, self

        @functools.wraps(init)
        def __init__(self: Any, module: nn.Module, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            init(self, module, *args, **kwargs)
            note = {
                "module": type(module).__name__, "find_unused": self.find_unused_parameters,
                "static_graph": self.static_graph, "broadcast_buffers": self.broadcast_buffers, "buffers": [],
                "buckets": getattr(getattr(self, "reducer", None), "bucket_bytes", []), **notes._place(),
            }  # fmt: skip
            notes._models.append((weakref.ref(self), note))
            notes.gradients_averaged(torch.distributed.get_process_group_ranks(self.process_group))

        def _run_ddp_forward(self: Any, *args: Any, **kwargs: Any) -> Any:
            note = next((n for ref, n in notes._models if ref() is self), None)
            before = {name: b._version for name, b in self.module.named_buffers()} if note is not None else {}
            out = run(self, *args, **kwargs)
            statistics = _running_statistics(self.module)
            for name, buffer in self.module.named_buffers():
                changed = name in before and (buffer._version != before[name] or name in statistics)
                if note is not None and changed and not _is_synced(self.module, name):
                    note["buffers"] += [name] if name not in note["buffers"] else []
            return out

        patches.set_all(DistributedDataParallel, __init__=__init__, _run_ddp_forward=_run_ddp_forward)

    def _unused(self) -> dict[str, Any]:
        """Name trainable parameters under DDP that no optimizer holds, or that never got a gradient."""
        steps = self._gpu.recorder.steps
        if not steps.completed or not self._models:
            return {}
        held = {id(p) for o in steps.optimizers for group in o.param_groups for p in group["params"]}
        unused: list[dict[str, str]] = []
        updated: list[str] = []
        for ref, _ in self._models:
            model = ref()
            if model is None or not steps.optimizers:
                return {}
            used = getattr(getattr(model, "reducer", None), "ever_used", None)
            for name, parameter in model.module.named_parameters():
                if not parameter.requires_grad:
                    continue
                if id(parameter) not in held:
                    unused.append({"name": name, "why": "no optimizer holds them"})
                elif used is not None and id(parameter) not in used:
                    unused.append({"name": name, "why": "they got no gradient"})
                else:
                    updated.append(name)
        return {"unused_parameters": unused, "updated_parameters": updated}

    # --- data -------------------------------------------------------------------------------------

    def _watch_samplers(self, patches: Patches) -> None:
        sampler: Any = DistributedSampler
        init, begin, set_epoch, notes = sampler.__init__, sampler.__iter__, sampler.set_epoch, self

        @functools.wraps(init)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            init(self, *args, **kwargs)
            try:
                size: int | None = len(self.dataset)
            except TypeError:
                size = None
            note = notes._samplers[self] = {
                "class": type(self).__name__, "rank": self.rank, "num_replicas": self.num_replicas,
                "shuffle": self.shuffle, "drop_last": self.drop_last, "dataset_size": size, "set_epoch_calls": 0,
                "epochs_begun": 0, **notes._place(),
            }  # fmt: skip
            notes._sampler_notes.append(note)

        def __iter__(self: Any) -> Iterator[Any]:  # noqa: N807
            if self in notes._samplers:
                notes._samplers[self]["epochs_begun"] += 1
            return begin(self)  # type: ignore[no-any-return]

        def note_epoch(self: Any, epoch: int) -> None:
            if self in notes._samplers:
                notes._samplers[self]["set_epoch_calls"] += 1
            set_epoch(self, epoch)

        patches.set_all(sampler, __init__=__init__, __iter__=__iter__, set_epoch=note_epoch)

    def _watch_loaders(self, patches: Patches) -> None:
        next_batch, notes = _BaseDataLoaderIter.__next__, self

        def __next__(self: Any) -> Any:  # noqa: N807
            batch = next_batch(self)
            notes._batch(self, batch)
            return batch

        patches.set(_BaseDataLoaderIter, "__next__", __next__)

    def _batch(self, iterator: Any, batch: Any) -> None:
        counted = self._loaders.setdefault(iterator, [len(self._loaders), 0])
        counted[1] += 1
        if counted[1] > _BATCHES_NOTED or not torch.is_grad_enabled():
            return
        tensors = list(_tensors(batch))
        first = next((t for t in tensors if t.dim()), None)
        self._fetched.append({
            "loader": counted[0], "step": counted[1], "digest": _digest(tensors),
            "samples": int(first.shape[0]) if first is not None else None, **self._place(),
        })  # fmt: skip

    def _root_enters(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Keep what was fetched for training, and note how many samples the model gets: ranks may divide by hand."""
        if isinstance(module, nn.modules.loss._Loss):
            return
        fetched, self._fetched = self._fetched, []
        if not torch.is_grad_enabled() or not module.training:
            return  # every rank may evaluate on the same data
        self._batches += fetched
        self._forwards += 1
        first = next((t for t in _tensors((args, kwargs)) if t.dim()), None)
        if self._forwards <= _BATCHES_NOTED and first is not None:
            about = {"loader": "forward", "step": self._forwards, "digest": None, "samples": int(first.shape[0])}
            self._batches.append({**about, **self._place()})


def _running_statistics(module: nn.Module) -> set[str]:
    """Name the statistics that batch norms update inside their kernels, where no version counts it."""
    return {
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.training and part.track_running_stats
        for name in ("running_mean", "running_var")
    }


def _is_synced(module: nn.Module, name: str) -> bool:
    """Whether a buffer changes alike on every rank: a count of batches, or the statistics of all ranks together."""
    owner, _, own_name = name.rpartition(".")
    return own_name == "num_batches_tracked" or isinstance(module.get_submodule(owner), nn.SyncBatchNorm)


class _Now:
    """The notes that FSDP adds to; what is imported once stays changed."""

    notes: weakref.ref[ClusterNotes] | None = None


_NOW = _Now


def _follow_fsdp(module: Any) -> None:
    group: Any = module.FSDPParamGroup
    if hasattr(group, "_tw_raw_init"):
        return
    raw = group._tw_raw_init = group.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        raw(self, *args, **kwargs)
        notes = _NOW.notes() if _NOW.notes is not None else None
        mesh = getattr(getattr(self, "mesh_info", None), "mesh", None)
        if notes is not None and mesh is not None:
            notes.gradients_averaged([int(rank) for rank in mesh.mesh.flatten().tolist()])

    group.__init__ = __init__


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _digest(tensors: list[torch.Tensor]) -> str | None:
    """Return a digest of the values; None if they are not all known, or if every element is the same."""
    digest, varied = hashlib.sha256(), False
    for tensor in tensors:
        if raw_is_meta(tensor) or tensor.layout is not torch.strided:
            return None
        with torch.no_grad(), torch._C._DisableTorchDispatch():
            flat = tensor.detach().reshape(-1)[:_DIGEST_ELEMENTS].contiguous()
            varied = varied or (flat.numel() > 1 and bool((flat != flat[0]).any()))
            digest.update(bytes(flat.view(torch.uint8).numpy().data) if flat.numel() else b"")
    return digest.hexdigest() if varied else None
