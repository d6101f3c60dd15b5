"""Making tensors and naming devices: what torch's C++ would look up in a CUDA runtime.

The factories get thin wrappers for two reasons. A device given as a number means a GPU, which a
CPU build of torch refuses; and a script's own ``device="meta"`` has to be told apart from the
``meta`` that C++ takes from a virtual tensor's options (see ``AskedForMeta``).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext, _device_constructors

from trainworthy.virtual.errors import check_generator
from trainworthy.virtual.patching import Patches
from trainworthy.virtual.tensors import CPU, AskedForMeta, Gpus, is_virtual
from trainworthy.virtual.threads import refuse_fork

# Filled before anything is patched: the set must hold torch's own functions.
_CONSTRUCTORS = _device_constructors()
_ORDINAL = "CUDA error: invalid device ordinal\nGPU device may be out of range, do you have enough GPUs?"
_TORCH = (
    "arange", "bartlett_window", "blackman_window", "empty", "empty_like", "empty_permuted",
    "empty_strided", "eye", "full", "full_like", "hamming_window", "hann_window", "kaiser_window",
    "linspace", "logspace", "normal", "ones", "ones_like", "rand", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "randperm", "range", "scalar_tensor",
    "tril_indices", "triu_indices", "zeros",
    "zeros_like",
)  # fmt: skip
_SPARSE = (
    "sparse_bsc_tensor", "sparse_bsr_tensor", "sparse_compressed_tensor", "sparse_coo_tensor",
    "sparse_csc_tensor", "sparse_csr_tensor",
)  # fmt: skip
_METHODS = ("new_empty", "new_empty_strided", "new_full", "new_ones", "new_zeros")
_raw_device = torch._C.device if hasattr(torch._C, "device") else torch.device


def resolve_device(device: Any) -> torch.device | None:
    """Turn what a script passes as a device into a ``torch.device`` with an index."""
    if device is None:
        return None
    if isinstance(device, int) and not isinstance(device, bool):
        device = _raw_device("cuda", device)
    elif not isinstance(device, torch.device):
        device = _raw_device(device)
    if device.type == "cuda":
        if (device.index or 0) >= Gpus.count:
            raise getattr(torch, "AcceleratorError", RuntimeError)(_ORDINAL)
        refuse_fork()
        return Gpus.current if device.index is None else device
    return CPU if device.type == "cpu" else device


def _default_device() -> torch.device | None:
    """Return the device that ``with torch.device(...)`` or ``set_default_device`` chose."""
    if not torch._C._len_torch_function_stack():
        return None
    for mode in reversed(_get_current_function_mode_stack()):
        if isinstance(mode, DeviceContext):
            return mode.device
    return None


class _DeviceMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _raw_device)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _raw_device)


def _device_class() -> type:
    """Stand in for ``torch.device``: a number alone is a GPU, as in a CUDA build."""

    def make(cls: type, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and isinstance(args[0], int):
            return _raw_device("cuda", args[0])
        return _raw_device(*args, **kwargs)

    names = {"__new__": make, "__module__": "torch", "__qualname__": "device"}
    return _DeviceMeta("device", (), names)


def _factory(raw: Any) -> Any:
    @functools.wraps(raw)
    def make(*args: Any, **kwargs: Any) -> Any:
        if kwargs.pop("requires_grad", False):
            return make(*args, **kwargs).requires_grad_()
        device = kwargs.get("device")
        if device is None:
            device = _default_device()
        else:
            device = kwargs["device"] = resolve_device(device)
        if kwargs.get("generator") is not None:
            check_generator(kwargs["generator"], device or CPU)
        if kwargs.get("pin_memory") and (device is None or device.type == "cpu"):
            return raw(*args, **{**kwargs, "pin_memory": False}).pin_memory()
        if device is None or device.type != "meta":
            return raw(*args, **kwargs)
        with AskedForMeta():
            return raw(*args, **kwargs)

    return make


def _sparse_factory(raw: Any) -> Any:
    """Sparse constructors: their parts are moved first, then joined where they are."""

    @functools.wraps(raw)
    def make(*parts: Any, device: Any = None, **kwargs: Any) -> Any:
        target = resolve_device(device if device is not None else _default_device())
        if target is None or target.type == "meta":
            with AskedForMeta() if target is not None else nullcontext():
                return raw(*parts, **kwargs) if target is None else raw(*parts, device=target, **kwargs)
        if not any(_from_virtual(p) for p in parts):
            return raw(*parts, device="cpu", **kwargs).to(target)
        return raw(*(p.to(target) if isinstance(p, torch.Tensor) else p for p in parts), **kwargs)

    return make


def _place(out: torch.Tensor, device: Any, requires_grad: bool = False) -> torch.Tensor:
    target = resolve_device(device if device is not None else _default_device())
    if target is not None and target != out.device:
        out = out.to(target)
    return out.requires_grad_() if requires_grad else out


def _read(data: Any) -> Any:
    """Replace virtual tensors in nested lists by real ones: the host reads their values."""
    if isinstance(data, torch.Tensor) and is_virtual(data):
        values = data.item() if data.dim() == 0 else data.tolist()
        return torch.tensor(values, dtype=data.dtype, device="cpu")
    if isinstance(data, (list, tuple)) and any(isinstance(d, (list, tuple, torch.Tensor)) for d in data):
        return [_read(d) for d in data]
    return data


def _from_virtual(data: Any) -> bool:
    return isinstance(data, torch.Tensor) and is_virtual(data)


def _constructors() -> dict[str, Any]:
    """``torch.tensor`` and relatives: data is read on the CPU, then moved."""
    raw_tensor, raw_as_tensor, raw_asarray = torch.tensor, torch.as_tensor, torch.asarray

    @functools.wraps(raw_tensor)
    def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
               pin_memory: bool = False) -> torch.Tensor:  # fmt: skip
        if _from_virtual(data):
            _warn_of_copy()
            out: torch.Tensor = data.detach().clone()
            out = out.to(device=device or data.device, dtype=dtype or data.dtype)
            return out.requires_grad_(requires_grad)
        out = _place(raw_tensor(_read(data), dtype=dtype, device="cpu"), device, requires_grad)
        return out.pin_memory() if pin_memory else out

    @functools.wraps(raw_as_tensor)
    def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> torch.Tensor:
        if isinstance(data, torch.Tensor):
            wanted = device if device is not None else data.device
            return data.to(device=wanted, dtype=dtype or data.dtype)
        return _place(raw_as_tensor(_read(data), dtype=dtype, device="cpu"), device)

    @functools.wraps(raw_asarray)
    def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: Any = None,
                requires_grad: bool = False) -> torch.Tensor:  # fmt: skip
        if isinstance(obj, torch.Tensor):
            wanted = device if device is not None else obj.device
            return obj.to(device=wanted, dtype=dtype or obj.dtype, copy=bool(copy))
        return _place(raw_asarray(_read(obj), dtype=dtype, device="cpu", copy=copy), device, requires_grad)

    return {"tensor": tensor, "as_tensor": as_tensor, "asarray": asarray}


def _warn_of_copy() -> None:
    warnings.warn(
        "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
        "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
        UserWarning,
        stacklevel=3,
    )


def _new(raw: Any) -> Any:
    def new(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not is_virtual(self):
            return raw(self, *args, **kwargs)
        device = kwargs.get("device") or self.device
        if self.layout is torch.sparse_coo:
            return torch.sparse_coo_tensor(*args, dtype=self.dtype, device=device)
        if len(args) == 1 and isinstance(args[0], torch.Tensor):
            return args[0].to(device=device, dtype=self.dtype)
        if len(args) == 1 and not isinstance(args[0], (int, torch.Size)):
            return torch.tensor(args[0], dtype=self.dtype, device=device)
        size = args[0] if len(args) == 1 and isinstance(args[0], torch.Size) else args
        return torch.empty(size or (0,), dtype=self.dtype, device=device)

    return new


def _set_default_tensor_type(raw: Any) -> Any:
    def set_default_tensor_type(kind: Any) -> None:
        name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__name__}"
        if ".cuda." in name:
            dtype = getattr(torch, name.rsplit(".", 1)[-1].removesuffix("Tensor").lower())
            torch.set_default_dtype(dtype)
            torch.set_default_device("cuda")
            torch.Tensor.__new__ = staticmethod(_new_on_gpu)  # type: ignore[method-assign]
        else:
            raw(kind)
            torch.set_default_device(None)
            _restore_constructor()

    return set_default_tensor_type


def _new_on_gpu(cls: type, *args: Any, **kwargs: Any) -> Any:
    """``torch.Tensor(...)`` while the default tensor type is one of ``torch.cuda``."""
    made: torch.Tensor = torch._C.TensorBase.__new__(cls, *args, **kwargs)
    return made.to(Gpus.current) if cls is torch.Tensor and not kwargs else made


def _restore_constructor() -> None:
    if "__new__" in vars(torch.Tensor):
        del torch.Tensor.__new__


@contextmanager
def defaults_restored() -> Iterator[None]:
    """Put the default device and dtype and the grad mode back when a rehearsal ends."""
    context = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    try:
        yield
    finally:
        _restore_constructor()
        torch.set_default_device(None if context is None else context.device)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)


def factory_patches() -> Patches:
    """Plan the changes to factories, ``torch.device`` and the defaults."""
    patches = Patches()
    patches.set_all(torch, **_constructors())
    for name in _TORCH:
        patches.set(torch, name, _factory(getattr(torch, name)))
    for name in _SPARSE:
        patches.set(torch, name, _sparse_factory(getattr(torch, name)))
    for name in ("fftfreq", "rfftfreq"):
        patches.set(torch.fft, name, _factory(getattr(torch.fft, name)))
    for name in _METHODS:
        patches.set(torch.Tensor, name, _factory(getattr(torch.Tensor, name)))
    patches.set(torch.Tensor, "new", _new(torch.Tensor.new))
    patches.set(torch, "device", _device_class())
    patches.set(torch, "set_default_tensor_type", _set_default_tensor_type(torch.set_default_tensor_type))
    return patches
