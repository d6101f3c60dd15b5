"""What a rank notes for the comparison with others: groups, samplers, batches, wrapped models, parameters.

Each rank notes only what it sees itself; ``inspect/rank_findings.py`` compares. Nothing here changes what a script
does.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import distributed_c10d as c10d
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils.data import DistributedSampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from trainworthy.tape.operators import plain_tensors
from trainworthy.virtual.patching import Patches
from trainworthy.virtual.tensors import raw_is_meta

if TYPE_CHECKING:
    from types import FrameType

    from trainworthy.virtual.gpu import VirtualGpu

_MAX_BATCHES = 4  # of one rehearsal
_MAX_DIGEST_BYTES = 1 << 22


class ClusterNotes:
    """Listens while a rank is rehearsed; ``notes`` is what goes into its tape."""

    def __init__(self, gpu: VirtualGpu) -> None:
        self._gpu = gpu
        self._groups: list[dict[str, Any]] = []
        self._samplers: list[tuple[Any, dict[str, Any]]] = []
        self._batches: list[dict[str, Any]] = []
        self._fetched: dict[str, Any] | None = None
        self._loaders: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._wrapped: list[tuple[weakref.ref[nn.Module], dict[str, int], dict[str, Any]]] = []
        self._roots: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._with_gradient: set[int] = set()
        self._norms: set[int] = set()  # batch norms that were in training mode in a training forward
        self._parallel: list[list[int]] | None = None

    def _unaveraged(self) -> Iterator[dict[str, Any]]:
        """Describe trained parameters outside of every wrapped model, if all others are under DDP."""
        wrapped = [model for model in (reference() for reference, _, _ in self._wrapped) if model is not None]
        inside = {id(p) for model in wrapped for p in model.parameters()}
        if not wrapped or any(_sharding_ranks(part) for root in self._roots for part in root.modules()):
            return
        names = {id(p): name for root in self._roots for name, p in root.named_parameters()}
        for optimizer in self._gpu.recorder.steps.optimizers:
            for group in optimizer.param_groups:
                for p in group["params"]:
                    if id(p) not in inside and id(p) in self._with_gradient:
                        shown = f"{str(p.dtype).removeprefix('torch.')}{list(p.shape)}"
                        yield {"name": names.get(id(p)), "shape": shown, "optimizer": type(optimizer).__name__}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen while the context is open."""
        modules = self._gpu.recorder.modules
        modules.on_root_enter.append(self._root_enters)
        hook = register_optimizer_step_pre_hook(self._optimizer_steps)
        try:
            with self._patches().applied():
                yield
        finally:
            hook.remove()
            modules.on_root_enter.remove(self._root_enters)

    def notes(self) -> dict[str, Any]:
        """Return what was noted so far."""
        for reference, versions, entry in self._wrapped:
            entry["buffers"] = _changed_buffers(reference(), versions, self._norms)
        found: dict[str, Any] = {
            "groups_created": list(self._groups), "samplers": [note for _, note in self._samplers],
            "batches": list(self._batches), "ddp": [entry for _, _, entry in self._wrapped],
        }  # fmt: skip
        if self._parallel:
            found["data_parallel"] = self._parallel
        if self._gpu.recorder.steps.completed:
            found["unused_parameters"], found["updated_parameters"] = self._parameters()
            found["unaveraged_parameters"] = list(self._unaveraged())
        return found

    def _patches(self) -> Patches:
        patches = Patches()
        for module in (dist, c10d):
            patches.set(module, "new_group", self._new_group(c10d.new_group))
        patches.set_all(
            DistributedSampler, __init__=self._sampler_made(DistributedSampler.__init__),
            __iter__=self._sampler_begins(DistributedSampler.__iter__),
            set_epoch=self._sampler_told(DistributedSampler.set_epoch),
        )  # fmt: skip
        patches.set(_BaseDataLoaderIter, "__next__", self._next_batch(_BaseDataLoaderIter.__next__))
        patches.set(DistributedDataParallel, "__init__", self._ddp_made(DistributedDataParallel.__init__))
        return patches

    def _place(self, frame: FrameType | None) -> dict[str, Any]:
        number, _ = self._gpu.recorder.finder.find(frame)
        source = self._gpu.recorder.finder.sources[number]
        return {"path": source.path or None, "line": source.line or None}

    # --- groups -----------------------------------------------------------------------------------

    def _new_group(self, raw: Any) -> Any:
        def new_group(ranks: Any = None, *args: Any, **options: Any) -> Any:
            local = bool(options.get("use_local_synchronization"))
            everyone = range(dist.get_world_size()) if dist.is_initialized() else ()
            self._groups.append(
                {"ranks": sorted(everyone if ranks is None else ranks), "local": local, **self._place(sys._getframe(1))}
            )
            return raw(ranks, *args, **options)

        return new_group

    # --- data -------------------------------------------------------------------------------------

    def _sampler_made(self, raw: Any) -> Any:
        notes = self

        def __init__(self: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - it replaces that method
            raw(self, *args, **options)
            about = {
                "class": type(self).__name__, "rank": self.rank, "num_replicas": self.num_replicas,
                "shuffle": bool(self.shuffle), "drop_last": bool(self.drop_last), "dataset_size": len(self.dataset),
                "set_epoch_calls": 0, "epochs_begun": 0,
            }  # fmt: skip
            notes._samplers.append((self, {**about, **notes._place(sys._getframe(1))}))

        return __init__

    def _sampler_begins(self, raw: Any) -> Any:
        notes = self

        def __iter__(self: Any) -> Any:  # noqa: N807 - it replaces that method
            notes._count(self, "epochs_begun")
            return raw(self)

        return __iter__

    def _sampler_told(self, raw: Any) -> Any:
        notes = self

        def set_epoch(self: Any, epoch: int) -> None:
            notes._count(self, "set_epoch_calls")
            raw(self, epoch)

        return set_epoch

    def _count(self, sampler: Any, name: str) -> None:
        for known, note in self._samplers:
            if known is sampler:
                note[name] += 1

    def _next_batch(self, raw: Any) -> Any:
        notes = self

        def __next__(self: Any) -> Any:  # noqa: N807 - it replaces that method
            batch = raw(self)
            if len(notes._batches) < _MAX_BATCHES:
                tensors = [t for t in _tensors(batch) if not raw_is_meta(t)]
                number = notes._loaders.setdefault(self, len(notes._loaders))
                notes._fetched = {
                    "loader": number, "digest": _digest(tensors),
                    "samples": tensors[0].shape[0] if tensors and tensors[0].dim() else None,
                    **notes._place(sys._getframe(1)),
                }  # fmt: skip
            return batch

        return __next__

    def _root_enters(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A training forward: what was fetched before was for training; what it gets is the rank's share."""
        if isinstance(module, nn.modules.loss._Loss):
            return
        fetched, self._fetched = self._fetched, None
        if not torch.is_grad_enabled() or not module.training:
            return
        if module not in self._roots:
            self._roots.add(module)
            norms = (m for m in module.modules() if isinstance(m, nn.modules.batchnorm._NormBase))
            self._norms.update(id(m) for m in norms if m.training and not isinstance(m, nn.SyncBatchNorm))
        if len(self._batches) >= _MAX_BATCHES:
            return
        step = self._gpu.recorder.steps.current
        if fetched is not None:
            self._batches.append({**fetched, "step": step})
        first = next(iter(_tensors((args, kwargs))), None)
        if first is not None and first.dim():
            about = {"loader": "forward", "digest": None, "samples": first.shape[0], "step": step}
            self._batches.append({**about, **self._place(sys._getframe(1))})

    # --- models -----------------------------------------------------------------------------------

    def _ddp_made(self, raw: Any) -> Any:
        notes = self

        def __init__(self: Any, module: Any, *args: Any, **options: Any) -> None:  # noqa: N807 - it replaces it
            raw(self, module, *args, **options)
            reducer = getattr(self, "reducer", None)
            built = {
                "module": type(module).__name__, "broadcast_buffers": bool(self.broadcast_buffers),
                "static_graph": bool(self.static_graph), "find_unused": bool(self.find_unused_parameters),
                "buckets": getattr(reducer, "bucket_bytes", []), **notes._place(sys._getframe(1)),
            }  # fmt: skip
            versions = {name: buffer._version for name, buffer in module.named_buffers()}
            notes._wrapped.append((weakref.ref(self), versions, built))

        return __init__

    def _data_parallel(self) -> list[list[int]]:
        """List the groups over which wrapped models average their gradients."""
        groups: list[list[int]] = []
        for reference, _, _ in self._wrapped:
            wrapped: Any = reference()
            if wrapped is not None and dist.is_initialized():
                groups.append(sorted(dist.get_process_group_ranks(wrapped.process_group)))
        for root in self._roots:
            for module in root.modules():
                ranks = _sharding_ranks(module)
                if ranks is not None:
                    groups.append(ranks)
                    break
        return [ranks for at, ranks in enumerate(groups) if ranks not in groups[:at]]

    def _optimizer_steps(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._parallel is None:  # now: a script may take its groups down before it ends
            self._parallel = self._data_parallel()
        for group in optimizer.param_groups:
            self._with_gradient.update(id(p) for p in group["params"] if p.grad is not None)

    def _parameters(self) -> tuple[list[dict[str, str]], list[str]]:
        """Name the trainable parameters of trained models that this rank does not update, and those that it does."""
        unused: list[dict[str, str]] = []
        updated: list[str] = []
        held = {id(p) for o in self._gpu.recorder.steps.optimizers for g in o.param_groups for p in g["params"]}
        for root in self._roots:
            named = [(n, p) for n, p in root.named_parameters() if p.requires_grad]
            if not any(id(p) in held for _, p in named):
                continue  # its optimizer is of another kind, or gone
            for name, parameter in named:
                shown = name.removeprefix("module.")
                if id(parameter) not in held:
                    unused.append({"name": shown, "why": "held by no optimizer"})
                elif id(parameter) not in self._with_gradient:
                    unused.append({"name": shown, "why": "without a gradient"})
                else:
                    updated.append(shown)
        return unused, updated


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a batch in order."""
    if isinstance(value, torch.Tensor):
        yield from plain_tensors(value)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def _digest(tensors: list[torch.Tensor]) -> str | None:
    """Digest the values of real tensors; None if there are none or all bytes are the same (a stand-in for data).

    Memory is read as it is, so that no operation is recorded.
    """
    digest, seen = hashlib.blake2b(digest_size=8), bytearray()
    for tensor in tensors:
        if tensor.layout is not torch.strided or tensor.device.type != "cpu" or not tensor.is_contiguous():
            return None
        size = min(tensor.numel() * tensor.element_size(), _MAX_DIGEST_BYTES)
        content = ctypes.string_at(tensor.data_ptr(), size) if size else b""
        digest.update(content)
        seen += bytes(set(content))
    return digest.hexdigest() if len(set(seen)) > 1 else None


def _changed_buffers(wrapped: nn.Module | None, versions: dict[str, int], norms: set[int]) -> list[str]:
    """Name the buffers that change in forward, differently on every rank.

    Running statistics of ``norms`` do; of other buffers it is known only where nothing else writes to them.
    """
    if wrapped is None:
        return []
    module: nn.Module = wrapped.module  # type: ignore[assignment]
    names = [
        f"{path}.{name}" if path else name
        for path, part in module.named_modules()
        if id(part) in norms
        for name in ("running_mean", "running_var")
        if getattr(part, name, None) is not None
    ]
    if not wrapped.broadcast_buffers:
        synced = {p for p, part in module.named_modules() if isinstance(part, nn.modules.batchnorm._NormBase)}
        names += [
            name
            for name, buffer in module.named_buffers()
            if name.rpartition(".")[0] not in synced and buffer._version != versions.get(name, buffer._version)
        ]
    return names


def _sharding_ranks(module: nn.Module) -> list[int] | None:
    """Return the ranks among which FSDP divides the batch; None if it does not wrap ``module``."""
    if "torch.distributed.fsdp" not in sys.modules:
        return None
    from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel

    if isinstance(module, FullyShardedDataParallel):
        return sorted(dist.get_process_group_ranks(module.process_group)) if dist.is_initialized() else None
    if not isinstance(module, FSDPModule):
        return None
    state = module._get_fsdp_state()
    groups = getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]
    if groups[0] is None:
        return None
    mesh = groups[0].mesh_info.mesh
    if not dist.is_initialized() and mesh._get_root_mesh() is not mesh:
        return None  # the script took its groups down: a part of a mesh no longer says which ranks it holds
    return sorted(_flat(mesh.mesh.tolist()))


def _flat(ranks: Any) -> list[int]:
    return [n for part in ranks for n in _flat(part)] if isinstance(ranks, list) else [int(ranks)]
