"""What a script can ask of a tensor: its device, its values, a copy somewhere else."""
# mypy: allow-untyped-calls, disable-error-code="no-any-return,attr-defined,call-arg"

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch._C import TensorBase
from torch.nn.parameter import UninitializedTensorMixin
from torch.overrides import handle_torch_function, has_torch_function_unary

from trainworthy.virtual import values
from trainworthy.virtual.errors import shown_device, type_name
from trainworthy.virtual.patch_copies import deepcopying, make_lazy, make_parameter, pickling, virtual_copy
from trainworthy.virtual.patch_factories import resolve_device
from trainworthy.virtual.patching import Patches
from trainworthy.virtual.tensors import (
    CPU,
    META,
    PLAIN,
    AskedForMeta,
    Gpus,
    device_of,
    is_virtual,
    new_virtual,
    raw_device,
    raw_is_meta,
    raw_to,
)
from trainworthy.virtual.truths import truth_of

if TYPE_CHECKING:
    from trainworthy.virtual.gpu import VirtualGpu

aten = torch.ops.aten
_raw_data: Any = TensorBase.data
_raw_grad = torch.Tensor.__dict__.get("grad", TensorBase.grad)
_MAX_REAL_ELEMENTS = 1 << 24


class Transfer(torch.autograd.Function):
    """Moves a tensor that requires grad to another device, and its gradient back.

    The gradient of a real tensor comes back as zeros. Autograd's own formula sees two meta tensors,
    and would leave the gradient of a virtual one where it is.
    """

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, device: torch.device, options: dict[str, Any]) -> Any:
        """Copy to ``device``."""
        ctx.like = (tensor.shape, tensor.dtype)
        ctx.home = shown_device(tensor) if raw_is_meta(tensor) else None
        return aten._to_copy.default(tensor, device=device, **options)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """Move the gradient back; zeros for a real tensor: values of virtual gradients are unknown."""
        shape, dtype = ctx.like
        if ctx.home is not None:
            return grads[0].to(ctx.home, dtype), None, None
        return torch.zeros(shape, dtype=dtype), None, None


class Crossing:
    """Who follows real tensors to the GPU; what it returns is moved in their place."""

    follow: Callable[[torch.Tensor], torch.Tensor] | None = None


# ``to(bool)`` is what ``to(torch.bool)`` is.
_PYTHON_TYPES: dict[Any, torch.dtype] = {
    bool: torch.bool, int: torch.int64, float: torch.float64, complex: torch.complex128,
}  # fmt: skip


def _parse_to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    names: tuple[str, ...] = ("device", "dtype", "non_blocking", "copy")
    first = args[0] if args else None
    if isinstance(first, torch.Tensor):
        return {"device": shown_device(first), "dtype": first.dtype,
                **dict(zip(("non_blocking", "copy"), args[1:], strict=False)), **kwargs}  # fmt: skip
    if isinstance(first, torch.dtype) or first in _PYTHON_TYPES:
        names = ("dtype", "non_blocking", "copy")
    parsed = {**dict(zip(names, args, strict=False)), **kwargs}
    if parsed.get("dtype") in _PYTHON_TYPES:
        parsed["dtype"] = _PYTHON_TYPES[parsed["dtype"]]
    other = parsed.pop("other", None)
    if other is not None:
        parsed.update(device=shown_device(other), dtype=other.dtype)
    return parsed


def move(
    tensor: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None,
    non_blocking: bool = False, memory_format: Any = None,
) -> torch.Tensor:  # fmt: skip
    """Copy a tensor to another device."""
    if Crossing.follow is not None and device.type == "cuda" and not raw_is_meta(tensor):
        tensor = Crossing.follow(tensor)
    options: dict[str, Any] = {"non_blocking": non_blocking}
    if dtype is not None:
        options["dtype"] = dtype
    if memory_format not in {None, torch.preserve_format}:
        options["memory_format"] = memory_format
    if tensor.requires_grad and torch.is_grad_enabled() and tensor.layout is torch.strided:
        out: torch.Tensor = Transfer.apply(tensor, device, options)
        return out
    moved: torch.Tensor = aten._to_copy.default(tensor, device=device, **options)
    if device.type == "cpu" and not moved.dtype.is_floating_point and not moved.dtype.is_complex:
        known = values.shadow_of(moved)
        if known is not None:  # what is known and has no gradient is as real as it was before it went to the GPU
            return known.clone()
    return moved


def _overridable(method: Any) -> Any:
    """Let subclasses see the call in their ``__torch_function__``, as they do with C methods."""

    @functools.wraps(method)
    def called(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if type(self) in PLAIN:
            return method(self, *args, **kwargs)
        if isinstance(self, UninitializedTensorMixin):
            return _move_lazy(self, method.__name__.strip("_"), args, kwargs)
        if has_torch_function_unary(self):
            return handle_torch_function(called, (self,), self, *args, **kwargs)
        return method(self, *args, **kwargs)

    return called


def _move_lazy(self: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """Move the empty tensor that stands for a parameter whose shape is not known yet."""
    if name == "to":
        options = _parse_to(args, kwargs)
    else:
        options = {"device": (args[0] if args else kwargs.get("device")) or name}
    with torch._C.DisableTorchFunctionSubclass():
        device = resolve_device(options.get("device")) or shown_device(self)
        data = new_virtual((0,), options.get("dtype") or self.dtype, device)
        return torch.Tensor._make_subclass(type(self), data, self.requires_grad)


@_overridable
def _to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    options = _parse_to(args, kwargs)
    device = resolve_device(options.get("device"))
    virtual = is_virtual(self)
    if device is None or device == shown_device(self):
        if not virtual:
            return raw_to(self, *args, **kwargs)
        options.pop("device", None)
        if not any(v is not None for v in options.values()):
            return self
        if options.get("dtype") is None:
            options["dtype"] = self.dtype
        return raw_to(self, **options)
    if device.type == "meta":
        with AskedForMeta():
            return raw_to(self, *args, **kwargs)
    if device.type == "cuda" or (device.type == "cpu" and virtual):
        return move(self, device, options.get("dtype"), bool(options.get("non_blocking", False)),
                    options.get("memory_format"))  # fmt: skip
    return raw_to(self, *args, **kwargs)


@_overridable
def _cuda(
    self: torch.Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None
) -> torch.Tensor:
    target = resolve_device(device if device is not None else "cuda")
    if target == shown_device(self):
        return self
    return move(self, target or Gpus.current, None, bool(non_blocking), memory_format)


@_overridable
def _cpu(self: torch.Tensor, memory_format: Any = None) -> torch.Tensor:
    if not is_virtual(self) or shown_device(self).type == "cpu":
        return self
    return move(self, CPU, None, False, memory_format)


def _device(self: torch.Tensor) -> torch.device:
    if raw_is_meta(self):
        return device_of(self) or META
    return raw_device(self)


def _repr(gpu: VirtualGpu) -> Any:
    original = torch.Tensor.__repr__

    def __repr__(self: torch.Tensor, *, tensor_contents: Any = None) -> str:
        if not is_virtual(self):
            return original(self, tensor_contents=tensor_contents)
        device = shown_device(self)
        where = "" if device.type == "cpu" else f", device='{device}'"
        known = values.shadow_of(self)
        if known is not None or self.dim() == 0:
            real = values.assumed_values(self)
            inner = original(real)
            grad = f", grad_fn=<{self.grad_fn.name()}>" if self.grad_fn is not None else ""
            leaf = ", requires_grad=True" if self.requires_grad and not grad else ""
            text = inner[:-1] + where + grad + leaf + ")"
        else:
            size = f", size={tuple(self.shape)}"
            kind = "" if self.dtype is torch.get_default_dtype() else f", dtype={self.dtype}"
            text = f"tensor(...{where}{size}{kind})"
        return f"Parameter containing:\n{text}" if isinstance(self, nn.Parameter) else text

    return __repr__


def _real_values(gpu: VirtualGpu, tensor: torch.Tensor, what: str) -> torch.Tensor:
    if values.shadow_of(tensor) is None and tensor.numel():
        gpu.assume(f"{what} of values that are unknown: each is taken as {values.assumed_value(tensor)}")
    if tensor.numel() > _MAX_REAL_ELEMENTS and values.shadow_of(tensor) is None:
        one = torch.full((), values.assumed_value(tensor), dtype=tensor.dtype)
        return one.expand(tensor.shape)
    return values.assumed_values(tensor)


def _host_values(gpu: VirtualGpu) -> dict[str, Any]:
    """Methods that hand values to Python or NumPy."""
    raw_numpy, raw_tolist, raw_array = TensorBase.numpy, TensorBase.tolist, torch.Tensor.__array__

    def numpy(self: torch.Tensor, *, force: bool = False) -> Any:
        if not is_virtual(self):
            return raw_numpy(self, force=force)
        if not force and shown_device(self).type == "cuda":
            raise TypeError(
                f"can't convert {shown_device(self)} device type tensor to numpy. "
                "Use Tensor.cpu() to copy the tensor to host memory first."
            )
        if not force and self.requires_grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        if values.is_spread(self) and self.numel() <= _MAX_REAL_ELEMENTS:
            gpu.assume("numpy() of values that are unknown: they are taken as numbers around 1")
            return raw_numpy(values.spread_values(self))
        return raw_numpy(_real_values(gpu, self, "numpy()"))

    def tolist(self: torch.Tensor) -> Any:
        if not is_virtual(self):
            return raw_tolist(self)
        if shown_device(self).type == "cuda":
            gpu.recorder.note_event("tolist", host_syncs=1)
        return raw_tolist(_real_values(gpu, self, "tolist()"))

    def __array__(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if not is_virtual(self):
            return raw_array(self, *args, **kwargs)
        array = numpy(self)
        dtype = args[0] if args else kwargs.get("dtype")
        return array if dtype is None else array.astype(dtype, copy=False)

    return {"numpy": numpy, "tolist": tolist, "__array__": __array__}


def _set_data(self: torch.Tensor, new: torch.Tensor) -> None:
    if raw_is_meta(self) and is_virtual(self) and not raw_is_meta(new):
        new = virtual_copy(new, CPU)
    _raw_data.__set__(self, new)


def _set_grad(self: torch.Tensor, new: torch.Tensor | None) -> None:
    if new is not None and is_virtual(self) and not raw_is_meta(new):
        new = virtual_copy(new, shown_device(self))
    _raw_grad.__set__(self, new)


def _tensor_type(self: torch.Tensor, dtype: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
    if dtype is None:
        return type_name(self)
    if isinstance(dtype, torch.dtype):
        return self.to(dtype)
    name = dtype if isinstance(dtype, str) else f"{dtype.__module__}.{dtype.__name__}"
    wanted = getattr(torch, name.rsplit(".", 1)[-1].removesuffix("Tensor").lower(), None)
    device = Gpus.current if ".cuda." in name else CPU
    return self.to(device=device, dtype=wanted)


def _small_methods(gpu: VirtualGpu) -> dict[str, Any]:
    raw_ptr, raw_pinned, raw_shared = TensorBase.data_ptr, TensorBase.is_pinned, torch.Tensor.is_shared
    raw_share, raw_get_device = torch.Tensor.share_memory_, TensorBase.get_device

    def data_ptr(self: torch.Tensor) -> int:
        if not is_virtual(self):
            return raw_ptr(self)
        return int(self.untyped_storage()._cdata) * 64 + int(self.storage_offset()) * self.element_size()

    def pin_memory(self: torch.Tensor, device: Any = None) -> torch.Tensor:
        if is_virtual(self) and shown_device(self).type == "cuda":
            raise RuntimeError(f"cannot pin '{type_name(self)}' only dense CPU tensors can be pinned")
        self._tw_pinned = True
        return self

    def is_pinned(self: torch.Tensor, device: Any = None) -> bool:
        return bool(getattr(self, "_tw_pinned", False)) or bool(raw_pinned(self))

    def get_device(self: torch.Tensor) -> int:
        if not is_virtual(self):
            return raw_get_device(self)
        device = shown_device(self)
        return device.index if device.type == "cuda" else -1

    def new_tensor(self: torch.Tensor, data: Any, *, dtype: Any = None, device: Any = None,
                   requires_grad: bool = False, **kwargs: Any) -> torch.Tensor:  # fmt: skip
        return torch.tensor(data, dtype=dtype or self.dtype, device=device or self.device,
                            requires_grad=requires_grad)  # fmt: skip

    return {
        "data_ptr": data_ptr, "pin_memory": pin_memory, "is_pinned": is_pinned,
        "get_device": get_device, "new_tensor": new_tensor,
        "record_stream": lambda self, stream: None,
        "share_memory_": lambda self: self if is_virtual(self) else raw_share(self),
        "is_shared": lambda self: False if is_virtual(self) else raw_shared(self),
    }  # fmt: skip


def tensor_patches(gpu: VirtualGpu) -> Patches:
    """Plan the changes to ``torch.Tensor`` and ``nn.Parameter``."""
    patches, tensor = Patches(), torch.Tensor
    patches.set_all(
        tensor,
        device=property(_device),
        is_cuda=property(lambda self: _device(self).type == "cuda"),
        is_cpu=property(lambda self: _device(self).type == "cpu"),
        is_meta=property(lambda self: _device(self).type == "meta"),
        data=property(_raw_data.__get__, _set_data),
        grad=property(_raw_grad.__get__, _set_grad, _raw_grad.__delete__),
        to=_to, cuda=_cuda, cpu=_cpu, type=_tensor_type, **_small_methods(gpu), **_host_values(gpu),
        __repr__=_repr(gpu), __bool__=truth_of(gpu),
    )  # fmt: skip
    for owner in (tensor, nn.Parameter):
        patches.set(owner, "__deepcopy__", deepcopying(owner.__deepcopy__))
    reduce = pickling()
    patches.set(tensor, "__reduce_ex__", reduce["tensor"])
    patches.set(nn.Parameter, "__reduce_ex__", reduce["parameter"])
    patches.set(nn.Parameter, "__repr__", _parameter_repr)
    patches.set(nn.Parameter, "__new__", make_parameter(gpu))
    for lazy in (nn.UninitializedParameter, nn.UninitializedBuffer):
        patches.set(lazy, "__new__", make_lazy(lazy.__new__))
    storage_ptr = torch._C.StorageBase.data_ptr
    patches.set(
        torch.UntypedStorage, "data_ptr",
        lambda self: int(self._cdata) * 64 if hasattr(self, "_tw_device") else storage_ptr(self),
    )  # fmt: skip
    raw_storage_device = torch.UntypedStorage.device.__get__
    patches.set(
        torch.UntypedStorage, "device",
        property(lambda self: getattr(self, "_tw_device", None) or raw_storage_device(self)),
    )  # fmt: skip
    patches.set(torch.UntypedStorage, "is_cuda", property(lambda self: self.device.type == "cuda"))
    patches.set(torch.TypedStorage, "_getitem", _storage_item(torch.TypedStorage._getitem))
    return patches


def _storage_item(original: Any) -> Any:
    """Read ``tensor.storage()[i]``, and ``tolist()`` of it, through a tensor over the whole storage."""

    def _getitem(self: torch.TypedStorage, idx: Any) -> Any:
        storage = self._untyped_storage
        if not hasattr(storage, "_tw_device") or isinstance(idx, slice):
            return original(self, idx)
        with torch._C._DisableTorchDispatch():  # not an operation of the script
            flat = torch.empty(0, dtype=self.dtype, device=META).set_(storage)
        return flat[idx].item()

    return _getitem


def _parameter_repr(self: nn.Parameter) -> str:
    return torch.Tensor.__repr__(self) if is_virtual(self) else "Parameter containing:\n" + torch.Tensor.__repr__(self)
