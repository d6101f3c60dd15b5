"""CUDA's own words for mistakes of device, dtype and shape.

Meta kernels are lenient (they multiply float by bfloat16) and word shape mistakes differently. What
CUDA would refuse is checked here before an operation runs; the text of a shape mistake is taken
from the CPU kernel, which is given tensors of one element expanded to the same shapes.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from trainworthy.virtual.tensors import device_of, raw_is_meta

_SCALAR_NAMES = {torch.float32: "Float", torch.float64: "Double", torch.float16: "Half",
                 torch.bfloat16: "BFloat16", torch.int64: "Long", torch.int32: "Int",
                 torch.int16: "Short", torch.int8: "Char", torch.uint8: "Byte", torch.bool: "Bool",
                 torch.complex64: "ComplexFloat", torch.complex128: "ComplexDouble"}  # fmt: skip

# Operations that take tensors of different devices on purpose: transfers, and positions on the CPU.
_MIXED = frozenset({"copy_", "_to_copy", "_pack_padded_sequence", "set_", "_foreach_copy_", "index",
                    "_cudnn_rnn", "_cudnn_rnn_backward", "record_stream", "_ctc_loss",
                    "_has_compatible_shallow_copy_type", "_pad_packed_sequence",
                    "repeat_interleave"})  # fmt: skip
_POINTWISE_ARGUMENT_NAMES = {"mm": ("self", "mat2"), "addmm": ("bias", "mat1", "mat2"),
                             "bmm": ("self", "mat2"), "baddbmm": ("self", "batch1", "batch2"),
                             "embedding": ("weight", "index"), "index_select": ("self", "index"),
                             "gather": ("self", "index"), "nll_loss_forward": ("self", "target"),
                             "native_layer_norm": ("input", "weight", "bias"),
                             "native_batch_norm": ("input", "weight", "bias"),
                             "convolution": ("input", "weight", "bias"), "cat": ("tensors",)}  # fmt: skip
_METHODS = {"embedding": "_index_select", "nll_loss_forward": "_nll_loss_forward",
            "native_layer_norm": "__native_layer_norm", "native_batch_norm": "__native_batch_norm",
            "convolution": "__cudnn_convolution"}  # fmt: skip
_ONE_TYPE = frozenset({"mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "addbmm"})


def shown_device(tensor: torch.Tensor) -> torch.device:
    """Return the device a script sees."""
    return device_of(tensor) or torch.device("cpu" if not raw_is_meta(tensor) else "meta")


def check_devices(name: str, tensors: list[torch.Tensor]) -> None:
    """Refuse tensors of several devices as CUDA does; CPU scalars may meet GPU tensors."""
    if name in _MIXED or name.startswith(("_foreach", "_fused_", "_amp_")):
        return
    if name in {"index_put_", "index_put", "_index_put_impl_"}:
        tensors = [tensors[0], tensors[-1]]
    devices = [shown_device(t) for t in tensors]
    if len(set(devices)) <= 1:
        return
    full = {d for d, t in zip(devices, tensors, strict=True) if t.dim() > 0}
    scalars_may_mix = name not in _POINTWISE_ARGUMENT_NAMES
    if len(full) <= 1 and scalars_may_mix and not _gpu_scalar_meets_cpu(tensors, devices):
        return
    found = sorted({str(d) for d in (full if len(full) > 1 else devices)}, reverse=True)
    names = _POINTWISE_ARGUMENT_NAMES.get(name)
    first = next((d for d in devices if d.type == "cuda"), devices[0])
    if names and len(tensors) <= len(names):
        odd = next(i for i, d in enumerate(devices) if d != first)
        method = _METHODS.get(name, f"_{name}")
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but got {names[odd]} is on "
            f"{devices[odd]}, different from other tensors on {first} "
            f"(when checking argument in method wrapper_CUDA_{method})"
        )
    raise RuntimeError(
        "Expected all tensors to be on the same device, but found at least two devices, "
        + " and ".join([str(first), *[d for d in found if d != str(first)]])
        + "!"
    )


def _gpu_scalar_meets_cpu(tensors: list[torch.Tensor], devices: list[torch.device]) -> bool:
    # A CUDA scalar is not lifted to the CPU: cpu_tensor + cuda_scalar raises.
    full = [d for d, t in zip(devices, tensors, strict=True) if t.dim() > 0]
    if not full:
        return False
    return full[0].type == "cpu" and any(
        d.type == "cuda" for d, t in zip(devices, tensors, strict=True) if t.dim() == 0
    )


def check_dtypes(name: str, args: tuple[Any, ...]) -> None:
    """Refuse mixed dtypes where CUDA does."""
    if name in _ONE_TYPE:
        mats = [a for a in args if isinstance(a, torch.Tensor)][-2:]
        if len({m.dtype for m in mats}) > 1:
            one, two = (_SCALAR_NAMES.get(m.dtype, str(m.dtype)) for m in mats)
            what = "mat1 and mat2" if name in {"mm", "addmm"} else "self and mat2"
            if name in {"bmm", "baddbmm"}:
                raise RuntimeError(f"expected scalar type {one} but found {two}")
            raise RuntimeError(f"{what} must have the same dtype, but got {one} and {two}")
    elif name == "convolution":
        _check_convolution(args)
    elif name == "embedding" and args[1].dtype not in {torch.int64, torch.int32}:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {type_name(args[1])} instead (while checking arguments for embedding)"
        )
    elif name in {"nll_loss_forward", "nll_loss2d_forward"} and args[1].dtype not in {
        torch.int64, torch.uint8,
    }:  # fmt: skip
        kind = _SCALAR_NAMES.get(args[1].dtype, str(args[1].dtype))
        raise RuntimeError(f"expected scalar type Long but found {kind}")


def _check_convolution(args: tuple[Any, ...]) -> None:
    x, weight, bias = args[:3]
    for name, other in (("weight", weight), ("bias", bias)):
        if other is None or type_name(x) == type_name(other):
            continue
        raise RuntimeError(f"Input type ({type_name(x)}) and {name} type ({type_name(other)}) should be the same")


def type_name(tensor: torch.Tensor) -> str:
    """Return the legacy type name that PyTorch prints: ``torch.cuda.FloatTensor``."""
    prefix = "torch.cuda." if shown_device(tensor).type == "cuda" else "torch."
    return f"{prefix}{_SCALAR_NAMES.get(tensor.dtype, str(tensor.dtype))}Tensor"


def in_cuda_words(text: str) -> str:
    """Replace what torch calls meta tensors by what it calls CUDA tensors."""
    return re.sub(r"\bMeta(\w+?)Type\b", r"torch.cuda.\1Tensor", text)


def native_error(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Exception | None:
    """Return the error that the CPU kernel raises for the same shapes, if it raises one.

    Used only after the meta kernel refused. The stand-ins hold one element each, expanded.
    """

    def stand_in(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if value.layout is not torch.strided:
                raise TypeError("sparse")
            return torch.zeros((), dtype=value.dtype).expand(value.shape)
        if isinstance(value, (list, tuple)):
            return type(value)(stand_in(v) for v in value)
        return value

    try:
        largest = max((a.numel() for a in args if isinstance(a, torch.Tensor)), default=0)
        if largest > 1 << 24:
            return None
        kwargs = {k: stand_in(v) for k, v in kwargs.items() if k not in {"device", "out"}}
        func(*(stand_in(a) for a in args), **kwargs)
    except (RuntimeError, IndexError, ValueError) as error:
        return error
    except Exception:  # no better text is to be had
        return None
    return None
