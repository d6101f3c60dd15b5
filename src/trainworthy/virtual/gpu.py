"""The virtual GPU as one context: everything switched on, and put back afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import torch

from trainworthy.hardware import Gpu
from trainworthy.tape.modules import watch_modules
from trainworthy.tape.record import Tape
from trainworthy.tape.recorder import Recorder
from trainworthy.tape.source import SourceFinder
from trainworthy.virtual import (  # noqa: F401 - they register handlers and overrides
    kernels,
    kernels_layout,
    kernels_sync_norm,
    patch_dtensor,
    rnn,
    rnn_cells,
)
from trainworthy.virtual.attention import Hardware
from trainworthy.virtual.autocast import cache_followed
from trainworthy.virtual.check_notes import CheckNotes
from trainworthy.virtual.cluster import Cluster
from trainworthy.virtual.cluster_notes import ClusterNotes
from trainworthy.virtual.device import VirtualDevice
from trainworthy.virtual.dynamo import dynamo_put_off
from trainworthy.virtual.mailbox import Mailbox
from trainworthy.virtual.overrides import switched_on
from trainworthy.virtual.patch_attention import attention_patches
from trainworthy.virtual.patch_cuda import cuda_patches
from trainworthy.virtual.patch_distributed import distributed_patches, group_torn_down
from trainworthy.virtual.patch_factories import defaults_restored, factory_patches
from trainworthy.virtual.patch_leaves import leaf_patches
from trainworthy.virtual.patch_parallel import parallel_patches
from trainworthy.virtual.patch_tensor import tensor_patches
from trainworthy.virtual.patch_torch import building_module, torch_patches
from trainworthy.virtual.step_notes import StepNotes
from trainworthy.virtual.tensors import Gpus, device_of, is_virtual, raw_is_meta
from trainworthy.virtual.threads import threads_followed

_GIB = 1 << 30
_GRANULARITY_BYTES = 512  # c10/cuda/CUDACachingAllocator.cpp: kMinBlockSize
_GEMMS = ("mm", "addmm", "bmm", "baddbmm", "linear")


class VirtualGpu:
    """Rehearse on ``gpu`` (a row of ``hardware``; ``None`` stands for a GPU with unlimited memory).

    With ``imitate_cpu`` composite operations decompose as on the CPU and memory is counted in exact
    bytes: that is how the machinery is compared with a real CPU step.
    """

    def __init__(
        self,
        gpu: Gpu | None = None,
        *,
        imitate_cpu: bool = False,
        finder: SourceFinder | None = None,
        cluster: Cluster | None = None,
        mailbox: Mailbox | None = None,
    ) -> None:
        self.row = gpu
        self.cluster = cluster
        self.mailbox = mailbox
        self.imitate_cpu = imitate_cpu
        self.name = gpu.names[0] if gpu and gpu.names else "virtual GPU"
        self.capability: tuple[int, int] = gpu.compute_capability if gpu else (9, 0)
        self.sm_count = gpu.sm_count if gpu else None
        self.total_memory_bytes = gpu.memory_bytes if gpu else 1 << 60
        self.context_bytes = gpu.context_bytes if gpu else 0
        self.assumptions: dict[str, list[str]] = {}
        if gpu is not None and gpu.vendor != "NVIDIA":
            # No line of the user's needed it, the choice of the GPU did.
            text = f"kernels, workspaces and choice of attention on {gpu.id} are those of NVIDIA's libraries"
            self.assumptions[text] = ["--gpu"]
        self.compile_requested = False
        self.step_notes: StepNotes | None = None  # of a session
        self.check_notes: CheckNotes | None = None  # of a session
        granularity = 1 if imitate_cpu else _GRANULARITY_BYTES
        # Real tensors count too when the CPU is imitated: they share the memory with virtual ones.
        only = None if imitate_cpu else _concerns
        self.recorder = Recorder(finder=finder, only=only, granularity_bytes=granularity)
        self.device = VirtualDevice(assume=self.assume, building=building_module, mailbox=mailbox)
        self._stack = ExitStack()

    def __enter__(self) -> VirtualGpu:
        stack = self._stack
        stack.enter_context(dynamo_put_off())
        self._hardware = (Hardware.capability, Hardware.imitate_cpu)
        Hardware.capability, Hardware.imitate_cpu = self.capability, self.imitate_cpu
        stack.enter_context(defaults_restored())
        stack.enter_context(_gpus_of(self.cluster))
        stack.enter_context(watch_modules())
        plans = (cuda_patches(self), factory_patches(), attention_patches(self), torch_patches(self))
        more = (tensor_patches(self), leaf_patches(self), parallel_patches(), distributed_patches(self))
        for patches in (*plans, *more):
            stack.enter_context(patches.applied())
        stack.callback(group_torn_down)
        stack.enter_context(patch_dtensor.Active())
        stack.enter_context(cache_followed())
        stack.enter_context(threads_followed(self))
        stack.enter_context(switched_on())
        stack.enter_context(self.device)
        stack.enter_context(self.recorder)
        if self.cluster is not None:
            self.notes = ClusterNotes(self)
            stack.enter_context(self.notes.listening())
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
        Hardware.capability, Hardware.imitate_cpu = self._hardware

    # --- what is assumed ------------------------------------------------------------------------

    def assume(self, text: str) -> None:
        """Note an assumption with the user's line that needed it."""
        number, _ = self.recorder.finder.find(sys._getframe(1))
        place = str(self.recorder.finder.sources[number])
        places = self.assumptions.setdefault(text, [])
        if place not in places:
            places.append(place)

    def note_compile(self) -> None:
        """Note that the script asked for ``torch.compile``."""
        self.compile_requested = True
        self.assume("torch.compile was asked for; the rehearsal runs eagerly, so fused kernels are not seen")

    def compare(self, function: Any, one: Any, two: Any, *args: Any, **kwargs: Any) -> Any:
        """Answer ``torch.allclose`` when values are unknown."""
        if not (is_virtual(one) or is_virtual(two)):
            return function(one, two, *args, **kwargs)
        self.assume("tensors compared with torch.allclose are assumed to be close")
        return True

    # --- results ----------------------------------------------------------------------------------

    def tape(self, **notes: Any) -> Tape:
        """Build the tape of the rehearsal so far."""
        recorder = self.recorder
        device = self._fullest_device()
        used_gpu = device.startswith("cuda")
        return recorder.tape(
            device=device,
            granularity_bytes=recorder.ledger.granularity_bytes,
            notes={
                "gpu": self.row.id if self.row else None, "gpu_name": self.name,
                "driver_memory_bytes": self.row.memory_bytes if self.row else None,
                "context_bytes": self.context_bytes,
                "assumptions": [_with_places(t, p) for t, p in self.assumptions.items()],
                "compile_requested": self.compile_requested,
                "workspace_bytes": self._workspace_bytes() if used_gpu else 0,
                "conv_workspaces": used_gpu and not self.imitate_cpu,
                **(self.step_notes.notes() if self.step_notes is not None else {}),
                **(self.check_notes.notes() if self.check_notes is not None else {}),
                **self._cluster_notes(), **notes,
            },
        )  # fmt: skip

    def _cluster_notes(self) -> dict[str, Any]:
        cluster = self.cluster
        if cluster is None:
            return {}
        about = {"rank": cluster.rank, "world_size": cluster.world_size, "gpus_per_node": cluster.gpus_per_node}
        return {"cluster": about, **self.notes.notes()}

    def _fullest_device(self) -> str:
        """Return the GPU that held most; the CPU if none was used."""
        peaks = {name: size for name, size in self.recorder.ledger.peak_bytes.items() if name.startswith("cuda")}
        return max(peaks, key=lambda name: peaks[name]) if peaks else "cpu"

    def _workspace_bytes(self) -> int:
        """Model the workspace that cuBLAS takes from PyTorch's allocator at the first product.

        Source: aten/src/ATen/cuda/CublasHandlePool.cpp: ``:4096:2:16:8`` (8,519,680 bytes), and
        ``:4096:8`` (33,554,432 bytes) from compute capability 9.0 on.
        """
        names = {s.name.split(".")[0] for s in self.recorder.signatures}
        if not names & set(_GEMMS):
            return 0
        return 33_554_432 if self.capability >= (9, 0) else 8_519_680


@contextmanager
def _gpus_of(cluster: Cluster | None) -> Iterator[None]:
    """Let the process see the GPUs of its node, and the environment that torchrun gives it."""
    before = (Gpus.count, Gpus.current)
    Gpus.count, Gpus.current = (cluster.processes_per_node if cluster else 1), torch.device("cuda", 0)
    try:
        with cluster.entered() if cluster else nullcontext():
            yield
    finally:
        Gpus.count, Gpus.current = before


def _with_places(text: str, places: list[str]) -> str:
    shown = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
    return f"{text} ({shown})"


def _concerns(tensors: list[torch.Tensor]) -> bool:
    """Record operations on virtual tensors and on whatever takes part in autograd."""
    for tensor in tensors:
        if raw_is_meta(tensor):
            if device_of(tensor) is not None:
                return True
        elif tensor.requires_grad:
            return True
    return False
