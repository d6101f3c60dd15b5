"""What a script can ask of ``torch`` itself: making tensors, saving, compiling, random numbers."""

from __future__ import annotations

import functools
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
import torch.autograd.forward_ad
from torch import nn
from torch.nn.utils import clip_grad

from trainworthy.virtual.errors import in_cuda_words
from trainworthy.virtual.patch_copies import rebuild_virtual
from trainworthy.virtual.patch_factories import resolve_device
from trainworthy.virtual.patching import Patches
from trainworthy.virtual.tensors import CPU, Gpus, is_virtual

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

_BUILDERS = frozenset({"reset_parameters", "init_weights", "_init_weights", "from_pretrained",
                       "_from_config", "from_config", "initialize_weights", "_initialize_weights"})  # fmt: skip


def building_module() -> bool:
    """Tell whether a module is being built by the code that runs now."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_name
        if name in _BUILDERS:
            return True
        if name == "__init__" and isinstance(frame.f_locals.get("self"), nn.Module):
            return True
        frame = frame.f_back
    return False


class VirtualGenerator(torch.Generator):
    """A generator that says it is on the GPU; virtual random numbers need no state."""

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Return the device the script asked for."""
        return getattr(self, "_tw_device", Gpus.current)


class _GeneratorMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, torch._C.Generator)


class GeneratorFactory(metaclass=_GeneratorMeta):
    """Stands in for ``torch.Generator``: makes virtual ones for "cuda"."""

    def __new__(cls, device: Any = "cpu") -> Any:  # noqa: D102
        target = resolve_device(device) or CPU
        if target.type == "cuda":
            made = VirtualGenerator()
            made._tw_device = target  # type: ignore[attr-defined]
            return made
        return torch._C.Generator(device=target)


class CompiledModule(nn.Module):
    """What ``torch.compile(module)`` returns in a rehearsal: the module, run eagerly."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._modules["_orig_mod"] = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module."""
        return self._modules["_orig_mod"](*args, **kwargs)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self._modules["_orig_mod"])  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name == "_orig_mod":
            return self._modules["_orig_mod"]
        return getattr(self._modules["_orig_mod"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in vars(self) or name in vars(self):
            super().__setattr__(name, value)
        else:
            setattr(self._modules["_orig_mod"], name, value)

    def train(self, mode: bool = True) -> CompiledModule:
        """Set the mode of the module too."""
        super().train(mode)
        return self


def _compile(gpu: VirtualGpu) -> Any:
    def compile_(model: Any = None, **options: Any) -> Any:
        if model is None:
            return lambda function: compile_(function, **options)
        gpu.note_compile()
        return CompiledModule(model) if isinstance(model, nn.Module) else model

    return compile_


def _script_patches(patches: Patches) -> None:
    """Let TorchScript be what it is with ``PYTORCH_JIT=0``: the Python code itself."""
    raw_script = torch.jit.script

    def unchanged(obj: Any = None, *args: Any, **kwargs: Any) -> Any:
        return obj

    def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").startswith("torch."):
            return raw_script(obj, *args, **kwargs)  # torch itself wants the graph
        return obj

    class ScriptModule(nn.Module):
        """A module that is not compiled."""

    def save(model: Any, f: Any, *args: Any, **kwargs: Any) -> None:
        torch.save(model.state_dict() if isinstance(model, nn.Module) else None, f)

    names = ("script_method", "trace", "trace_module", "freeze", "optimize_for_inference")
    patches.set_all(torch.jit, **dict.fromkeys(names, unchanged))
    patches.set(torch.autograd.forward_ad, "_maybe_load_decompositions", lambda: None)
    patches.set_all(torch.jit, script=script, save=save, ScriptModule=ScriptModule)


class _Probe:
    """Stands in for a storage, to learn where a ``map_location`` function puts it."""

    device = CPU

    def cuda(self, device: Any = None, **kwargs: Any) -> _Probe:
        """Move to the GPU."""
        self.device = Gpus.current
        return self

    def cpu(self) -> _Probe:
        """Move to the CPU."""
        self.device = CPU
        return self


def _target(location: Any) -> torch.device | None:
    """Return the device that ``map_location`` sends tensors of the GPU to; ``None``: they stay."""
    if isinstance(location, dict):
        location = location.get("cuda:0")
    if callable(location) and not isinstance(location, (str, torch.device)):
        placed = location(_Probe(), "cuda:0")
        return placed.device if isinstance(placed, _Probe) else None
    return resolve_device(location)


def _load(gpu: VirtualGpu) -> Any:
    raw_load = torch.load

    @functools.wraps(raw_load)
    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        seen: set[str] = set()

        def on_cpu(storage: Any, location: str) -> Any:
            seen.add(location)
            return storage

        device = _target(map_location)
        with torch.serialization.safe_globals([rebuild_virtual]):
            loaded = raw_load(f, on_cpu, *args, **kwargs)
        if device is None and any(location.startswith("cuda") for location in seen):
            device = Gpus.current  # saved on a real GPU
        if device is None or device.type == "meta":
            return loaded
        return map_tensors(loaded, lambda t: _same_kind(t, device))

    return load


def _same_kind(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    moved = tensor.to(device)
    if isinstance(tensor, nn.Parameter) and moved is not tensor:
        return nn.Parameter(moved.detach(), tensor.requires_grad)
    return moved


def map_tensors(value: Any, function: Any) -> Any:
    """Apply ``function`` to every tensor in nested dicts, lists and tuples."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, nn.Module):
        return value._apply(function)
    if isinstance(value, dict):
        for key, item in list(value.items()):
            value[key] = map_tensors(item, function)
        return value
    if isinstance(value, list):
        return [map_tensors(v, function) for v in value]
    if type(value) is tuple:
        return tuple(map_tensors(v, function) for v in value)
    return value


def _engine(run: Any) -> Any:
    def run_backward(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except RuntimeError as error:
            text = in_cuda_words(str(error))
            if text == str(error):
                raise
            raise RuntimeError(text).with_traceback(error.__traceback__) from None

    return run_backward


def _ctc_loss() -> Any:
    raw = torch.ctc_loss

    def ctc_loss(log_probs: torch.Tensor, targets: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        if is_virtual(log_probs):  # C++ reads the lengths on the host
            args = tuple(a.tolist() if isinstance(a, torch.Tensor) else a for a in args)
        return raw(log_probs, targets, *args, **kwargs)

    return ctc_loss


def _parse_to() -> Any:
    """Let ``module.to(0)`` mean the GPU, as it does where torch has one."""
    raw = torch._C._nn._parse_to

    def parse_to(*args: Any, **kwargs: Any) -> Any:
        if args and isinstance(args[0], int) and not isinstance(args[0], bool):
            args = (resolve_device(args[0]), *args[1:])
        if isinstance(kwargs.get("device"), int):
            kwargs["device"] = resolve_device(kwargs["device"])
        return raw(*args, **kwargs)

    return parse_to


def _foreach_on_gpu(patches: Patches) -> None:
    """Let gradient norms and clipping take all tensors at once, as on CUDA; C++ groups virtual tensors as meta ones."""
    home: Any = clip_grad
    raw_device, raw_tensors = home._device_has_foreach_support, home._has_foreach_support

    def device_has(device: torch.device) -> bool:
        return device.type == "meta" or bool(raw_device(device))

    def tensors_have(tensors: list[torch.Tensor], device: torch.device) -> bool:
        return bool(raw_tensors(tensors, CPU if device.type == "meta" else device))

    patches.set_all(home, _device_has_foreach_support=device_has, _has_foreach_support=tensors_have)


def torch_patches(gpu: VirtualGpu) -> Patches:
    """Plan the changes to the ``torch`` namespace."""
    patches = Patches()
    patches.set(torch, "Generator", GeneratorFactory)
    patches.set(torch, "compile", _compile(gpu))
    patches.set(torch, "ctc_loss", _ctc_loss())
    patches.set(torch._C._nn, "_parse_to", _parse_to())
    engine = _engine(torch.autograd.graph._engine_run_backward)
    patches.set(torch.autograd.graph, "_engine_run_backward", engine)
    patches.set(torch.autograd, "_engine_run_backward", engine)
    patches.set(nn.Module, "compile", lambda self, *a, **k: gpu.note_compile())
    patches.set(torch, "load", _load(gpu))
    patches.set(torch.compiler, "cudagraph_mark_step_begin", lambda: None)
    _script_patches(patches)
    _foreach_on_gpu(patches)
    patches.set(torch, "equal", torch.equal)
    raw_allclose = torch.allclose
    patches.set(torch, "allclose", lambda a, b, *r, **k: gpu.compare(raw_allclose, a, b, *r, **k))
    patches.set(torch.Tensor, "allclose", lambda a, b, *r, **k: gpu.compare(raw_allclose, a, b, *r, **k))
    return patches
