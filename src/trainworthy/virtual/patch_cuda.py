"""``torch.cuda`` and its relatives, answered for the chosen GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
import torch.cuda
import torch.cuda.nccl
import torch.cuda.nvtx
import torch.cuda.random
from torch.backends import cuda as backend_cuda
from torch.backends import cudnn

from trainworthy.virtual.attention_choice import cudnn_version
from trainworthy.virtual.patch_factories import resolve_device
from trainworthy.virtual.patching import Patches
from trainworthy.virtual.streams import Event, ExternalStream, Stream, Streams
from trainworthy.virtual.tensors import Gpus

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_NCCL_VERSION = (2, 27, 5)


def _graph_classes(gpu: VirtualGpu) -> dict[str, Any]:
    """CUDA graphs: capture runs the body once; a replay records the captured operations again."""

    class CUDAGraph:
        def __init__(self, keep_graph: bool = False) -> None:
            self.begin = self.end = 0

        def capture_begin(self, *args: Any, **kwargs: Any) -> None:
            self.begin = len(gpu.recorder.ops)

        def capture_end(self) -> None:
            self.end = len(gpu.recorder.ops)

        def replay(self) -> None:
            step = gpu.recorder.steps.current
            for op in gpu.recorder.ops[self.begin : self.end]:
                gpu.recorder.ops.append(op._replace(step=step))

        def reset(self) -> None:
            self.begin = self.end = 0

        def pool(self) -> tuple[int, int]:
            return (0, 0)

    @contextmanager
    def graph(cuda_graph: Any, *args: Any, **kwargs: Any) -> Iterator[None]:
        cuda_graph.capture_begin()
        try:
            yield
        finally:
            cuda_graph.capture_end()

    return {
        "CUDAGraph": CUDAGraph, "graph": graph, "graph_pool_handle": lambda: (0, 0),
        "make_graphed_callables": lambda callables, *a, **k: callables,
        "is_current_stream_capturing": lambda: False,
    }  # fmt: skip


def _memory(gpu: VirtualGpu) -> dict[str, Any]:
    def name(device: Any) -> str:
        return str(resolve_device(device) or Gpus.current)

    def allocated(device: Any = None) -> int:
        return gpu.recorder.ledger.allocated_bytes.get(name(device), 0)

    def peak(device: Any = None) -> int:
        return gpu.recorder.ledger.peak_bytes.get(name(device), 0)

    def reset(device: Any = None) -> None:
        gpu.recorder.ledger.peak_bytes[name(device)] = allocated(device)

    def info(device: Any = None) -> tuple[int, int]:
        total = gpu.total_memory_bytes
        return max(total - allocated(device) - gpu.context_bytes, 0), total

    def stats(device: Any = None) -> dict[str, Any]:
        now, most = allocated(device), peak(device)
        return {"allocated_bytes.all.current": now, "allocated_bytes.all.peak": most,
                "reserved_bytes.all.current": now, "reserved_bytes.all.peak": most,
                "active_bytes.all.peak": most, "active_bytes.all.current": now,
                "num_alloc_retries": 0, "num_ooms": 0}  # fmt: skip

    return {
        "memory_allocated": allocated, "max_memory_allocated": peak, "memory_reserved": allocated,
        "max_memory_reserved": peak, "memory_cached": allocated, "max_memory_cached": peak,
        "reset_peak_memory_stats": reset, "reset_max_memory_allocated": reset,
        "reset_accumulated_memory_stats": lambda device=None: None, "mem_get_info": info,
        "memory_stats": stats, "memory_summary": lambda *a, **k: "virtual GPU: see the report",
        "memory_snapshot": lambda *a, **k: [], "empty_cache": lambda: None,
        "set_per_process_memory_fraction": lambda *a, **k: None, "ipc_collect": lambda: None,
        "utilization": lambda device=None: 0, "memory_usage": lambda device=None: 0,
        "temperature": lambda device=None: 40, "power_draw": lambda device=None: 0,
        "clock_rate": lambda device=None: 0,
    }  # fmt: skip


def _is_used(gpu: VirtualGpu) -> bool:
    return any(name.startswith("cuda") for name in gpu.recorder.ledger.peak_bytes)


def _device_answers(gpu: VirtualGpu) -> dict[str, Any]:
    major, minor = gpu.capability
    properties = SimpleNamespace(
        name=gpu.name, total_memory=gpu.total_memory_bytes, major=major, minor=minor,
        multi_processor_count=gpu.sm_count or 132, is_integrated=False, is_multi_gpu_board=False,
        max_threads_per_multi_processor=2048, max_threads_per_block=1024, warp_size=32,
        shared_memory_per_block=49152, shared_memory_per_multiprocessor=233472,
        shared_memory_per_block_optin=232448, regs_per_multiprocessor=65536, L2_cache_size=52428800,
        gcnArchName="", uuid="00000000-0000-0000-0000-000000000000",
    )  # fmt: skip
    bf16 = major >= 8
    return {
        "is_available": lambda: True, "device_count": lambda: Gpus.count, "is_initialized": lambda: _is_used(gpu),
        "init": lambda: None, "_lazy_init": lambda: None,
        "_is_in_bad_fork": lambda: False, "current_device": lambda: Gpus.current.index,
        "get_device_name": lambda device=None: gpu.name,
        "get_device_capability": lambda device=None: (major, minor),
        "get_device_properties": lambda device=None: properties,
        "is_bf16_supported": lambda including_emulation=True: bf16 or including_emulation,
        "is_tf32_supported": lambda: bf16, "get_arch_list": lambda: [f"sm_{major}{minor}"],
        "can_device_access_peer": lambda a, b: a != b, "set_device": _set_device,
        "get_gencode_flags": lambda: "", "_exchange_device": _exchange_device,
        "_maybe_exchange_device": _exchange_device, "current_blas_handle": lambda: 0,
        "cudart": lambda: SimpleNamespace(
            cudaProfilerStart=lambda: 0, cudaProfilerStop=lambda: 0, cudaMemGetInfo=lambda d: (0, 0)
        ),
    }  # fmt: skip


def _random() -> dict[str, Any]:
    state = torch.zeros(16, dtype=torch.uint8)
    return {
        "manual_seed": lambda seed: None, "manual_seed_all": lambda seed: None, "seed": lambda: None,
        "seed_all": lambda: None, "initial_seed": lambda: 0,
        "get_rng_state": lambda device="cuda": state.clone(),
        "get_rng_state_all": lambda: [state.clone()],
        "set_rng_state": lambda new_state, device="cuda": None,
        "set_rng_state_all": lambda new_states: None,
    }  # fmt: skip


class _TypedMeta(type):
    dtype: torch.dtype

    def __instancecheck__(cls, instance: Any) -> bool:
        return (isinstance(instance, torch.Tensor) and instance.is_cuda
                and instance.dtype is cls.dtype)  # fmt: skip


def _legacy_types() -> dict[str, Any]:
    kinds = {"FloatTensor": torch.float32, "DoubleTensor": torch.float64, "HalfTensor": torch.float16,
             "BFloat16Tensor": torch.bfloat16, "LongTensor": torch.int64, "IntTensor": torch.int32,
             "ShortTensor": torch.int16, "CharTensor": torch.int8, "ByteTensor": torch.uint8,
             "BoolTensor": torch.bool}  # fmt: skip

    def make(name: str, dtype: torch.dtype) -> Any:
        def __new__(cls: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
            if len(args) == 1 and isinstance(args[0], torch.Size):
                args = tuple(args[0])
            elif len(args) == 1 and not isinstance(args[0], int):
                return torch.tensor(args[0], dtype=dtype, device="cuda")
            return torch.empty(args or (0,), dtype=dtype, device="cuda")

        return _TypedMeta(name, (), {"__new__": __new__, "dtype": dtype, "__module__": "torch.cuda"})

    return {name: make(name, dtype) for name, dtype in kinds.items()}


def _set_device(device: Any) -> None:
    """Make ``device`` the one that "cuda" means; a negative number changes nothing."""
    if isinstance(device, int) and device < 0:
        return
    target = resolve_device(device)
    if target is not None and target.type == "cuda":
        Gpus.current = target


def _exchange_device(device: int) -> int:
    before: int = Gpus.current.index
    _set_device(device)
    return before


class _DeviceContext:
    def __init__(self, device: Any = None) -> None:
        if isinstance(device, torch.Tensor):
            device = device.device
        self._target = device
        self.idx = -1 if device is None else torch.cuda._utils._get_device_index(device, optional=True)

    def __enter__(self) -> None:
        self._before = Gpus.current
        if self.idx >= 0:
            _set_device(self.idx)

    def __exit__(self, *exc: object) -> None:
        Gpus.current = self._before


def _device_module(device: Any) -> Any:
    kind = resolve_device("cuda" if device is None else device)
    return getattr(torch, kind.type if kind is not None else "cuda")


def cuda_patches(gpu: VirtualGpu) -> Patches:
    """Plan the changes to ``torch.cuda``, ``torch.accelerator`` and ``torch.backends``."""
    patches = Patches()

    def synchronize(device: Any = None) -> None:
        gpu.recorder.note_event("cuda.synchronize", host_syncs=1)

    streams = Streams(gpu.recorder)
    gpus = gpu.cluster.processes_per_node if gpu.cluster else 1
    answers = {
        **_device_answers(gpu), **_memory(gpu), **_random(), **_graph_classes(gpu), **_legacy_types(),
        "synchronize": synchronize, "Stream": Stream, "ExternalStream": ExternalStream, "Event": Event,
        "current_stream": streams.current, "default_stream": lambda device=None: streams.default,
        "stream": streams.use, "StreamContext": streams.use, "set_stream": streams.set,
        "device": _DeviceContext, "device_of": _DeviceContext,
        "default_generators": (torch.default_generator,) * gpus, "has_half": True,
    }  # fmt: skip
    patches.set_all(torch.cuda, **answers)
    patches.set_all(torch.cuda.random, **_random())
    memory = {k: v for k, v in _memory(gpu).items() if hasattr(torch.cuda.memory, k)}
    patches.set_all(torch.cuda.memory, **memory)
    patches.set_all(torch.cuda.memory, _record_memory_history=lambda *a, **k: None,
                    _dump_snapshot=lambda *a, **k: None)  # fmt: skip
    patches.set_all(torch.cuda.nvtx, range_push=lambda msg: 0, range_pop=lambda: 0,
                    mark=lambda msg: None, range=lambda *a, **k: nullcontext())  # fmt: skip
    cudnn_number = cudnn_version(gpu.capability)
    patches.set(torch.version, "cuda", "13.0" if cudnn_number > 91500 else "12.6")
    patches.set(torch.cuda.nccl, "version", lambda: _NCCL_VERSION)
    patches.set(torch, "get_device_module", lambda device=None: _device_module(device))
    patches.set_all(torch, Stream=Stream, Event=Event)
    patches.set_all(cudnn, is_available=lambda: True, version=lambda: cudnn_number,
                    is_acceptable=lambda tensor: False)  # fmt: skip
    patches.set(backend_cuda, "is_built", lambda: True)
    patches.set(torch._C, "_get_accelerator", lambda check=None: torch.device("cuda"))
    if hasattr(torch, "accelerator"):
        _accelerator(patches, answers)
    return patches


def _accelerator(patches: Patches, answers: dict[str, Any]) -> None:
    device = torch.device("cuda")
    patches.set_all(
        torch.accelerator, is_available=lambda: True, device_count=lambda: Gpus.count,
        current_accelerator=lambda check_available=False: device,
        current_device_index=lambda: Gpus.current.index, current_device_idx=lambda: Gpus.current.index,
        set_device_index=_set_device, set_device_idx=_set_device,
        synchronize=answers["synchronize"], current_stream=answers["current_stream"],
        set_stream=answers["set_stream"], device_index=_DeviceContext,
    )  # fmt: skip
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved",
                 "reset_peak_memory_stats", "memory_stats", "empty_cache"):  # fmt: skip
        if hasattr(torch.accelerator, name):
            patches.set(torch.accelerator, name, answers[name])
