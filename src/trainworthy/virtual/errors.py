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
                    "convolution", "_cudnn_rnn", "_cudnn_rnn_backward", "record_stream", "_ctc_loss",
                    "_has_compatible_shallow_copy_type", "_pad_packed_sequence",
                    "repeat_interleave"})  # fmt: skip
# Names of the tensor arguments of operations whose tensors must all be on one device, scalars too.
_ARGUMENTS = {
    "mm": ("self", "mat2"), "addmm": ("self", "mat1", "mat2"), "bmm": ("self", "mat2"),
    "baddbmm": ("self", "batch1", "batch2"), "addmv": ("self", "mat", "vec"), "dot": ("self", "tensor"),
    "embedding": ("self", "index"), "index_select": ("self", "index"), "gather": ("self", "index"),
    "scatter": ("self", "index", "src"), "scatter_add": ("self", "index", "src"),
    "nll_loss_forward": ("self", "target", "weight"), "nll_loss2d_forward": ("self", "target", "weight"),
    "native_layer_norm": ("input", "weight", "bias"), "native_group_norm": ("input", "weight", "bias"),
    "native_batch_norm": ("input", "weight", "bias", "running_mean", "running_var"),
}  # fmt: skip
# Structured kernels have no extra underscore in the name of their wrapper.
_METHODS = {"embedding": "_index_select", "stack": "cat", "native_layer_norm": "_native_layer_norm",
            "native_group_norm": "_native_group_norm", "native_batch_norm": "_native_batch_norm",
            "index_select": "_index_select", "nll_loss2d_forward": "_nll_loss2d_forward", "dot": "_dot"}  # fmt: skip
_CPP_NAMES = {torch.float32: "float", torch.float64: "double", torch.float16: "c10::Half",
              torch.bfloat16: "c10::BFloat16", torch.int64: "long", torch.int32: "int", torch.bool: "bool",
              torch.uint8: "unsigned char", torch.int8: "signed char", torch.int16: "short",
              torch.complex64: "c10::complex<float>", torch.complex128: "c10::complex<double>"}  # fmt: skip
# What CUDA's kernels are called in "... not implemented for 'Long'".
_FLOATING_ONLY = {"_softmax": "host_softmax", "_log_softmax": "host_softmax"}
_INTEGRAL_ONLY = {f"bitwise_{n}": f"bitwise_{n}_cuda" for n in ("and", "or", "xor", "not")}
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
    plain = name.removesuffix("_")
    names = ("tensors",) * len(tensors) if name in {"cat", "stack"} else _ARGUMENTS.get(plain)
    if names and len(tensors) <= len(names):
        odd = next(i for i, d in enumerate(devices) if d != devices[0])
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but got {names[odd]} is on "
            f"{devices[odd]}, different from other tensors on {devices[0]} "
            f"(when checking argument in method wrapper_CUDA_{_METHODS.get(plain, plain)})"
        )
    full = {d for d, t in zip(devices, tensors, strict=True) if t.dim() > 0}
    if len(full) <= 1 and not _gpu_scalar_meets_cpu(tensors, devices):
        return
    found = sorted({str(d) for d in devices}, reverse=True)
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {' and '.join(found)}!"
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
    """Refuse dtypes where CUDA does."""
    if name in _ONE_TYPE:
        _check_product(name, [a for a in args if isinstance(a, torch.Tensor)][-2:])
    elif name == "convolution":
        _check_convolution(args)
    elif name == "embedding" and args[1].dtype not in {torch.int64, torch.int32}:
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {type_name(args[1])} instead (while checking arguments for embedding)"
        )
    elif name in {"nll_loss_forward", "nll_loss2d_forward"}:
        if args[1].dtype not in {torch.int64, torch.uint8}:
            raise RuntimeError(f"expected scalar type Long but found {scalar_name(args[1])}")
    elif name in _FLOATING_ONLY:
        if not (args[0].dtype.is_floating_point or args[0].dtype.is_complex):
            raise NotImplementedError(f"\"{_FLOATING_ONLY[name]}\" not implemented for '{scalar_name(args[0])}'")
    elif name.removesuffix("_") in _INTEGRAL_ONLY and args[0].dtype.is_floating_point:
        kernel = _INTEGRAL_ONLY[name.removesuffix("_")]
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(args[0])}'")


def _check_product(name: str, mats: list[torch.Tensor]) -> None:
    if len({m.dtype for m in mats}) == 1:
        return
    one, two = mats
    if name in {"bmm", "baddbmm"}:
        raise RuntimeError(f"expected scalar type {scalar_name(one)} but found {scalar_name(two)}")
    if name == "mm":
        raise RuntimeError(
            "expected mat1 and mat2 to have the same dtype, but got: "
            f"{_CPP_NAMES.get(one.dtype)} != {_CPP_NAMES.get(two.dtype)}"
        )
    what = "mat1 and mat2" if name == "addmm" else "self and mat2"
    raise RuntimeError(f"{what} must have the same dtype, but got {scalar_name(one)} and {scalar_name(two)}")


def _check_convolution(args: tuple[Any, ...]) -> None:
    x, weight, bias = args[:3]
    for name, other in (("weight", weight), ("bias", bias)):
        if other is None or type_name(x) == type_name(other):
            continue
        more = ""
        if name == "weight" and shown_device(x).type == "cpu":
            more = " or input should be a MKLDNN tensor and weight is a dense tensor"
        raise RuntimeError(f"Input type ({type_name(x)}) and {name} type ({type_name(other)}) should be the same{more}")


def check_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """Refuse what ``validate_sdpa_input`` refuses."""
    tensors = (q, k, v)
    for what, found in (
        ("dtype", [_CPP_NAMES.get(t.dtype, str(t.dtype)) for t in tensors]),
        ("device type", [str(shown_device(t)) for t in tensors]),
    ):
        if len(set(found)) > 1:
            short = what.split()[0]
            raise RuntimeError(
                f"Expected query, key, and value to have the same {what}, but got query.{short}: {found[0]} "
                f"key.{short}: {found[1]} and value.{short}: {found[2]} instead."
            )


def check_generator(generator: torch.Generator, device: torch.device) -> None:
    """Refuse a generator of another device than the result's."""
    if device.type not in {generator.device.type, "meta"}:
        raise RuntimeError(f"Expected a '{device.type}' device type for generator but found '{generator.device.type}'")


def scalar_name(tensor: torch.Tensor) -> str:
    """Return the name of a dtype in messages of torch's C++: ``Float``, ``BFloat16``, ..."""
    return _SCALAR_NAMES.get(tensor.dtype, str(tensor.dtype))


def type_name(tensor: torch.Tensor) -> str:
    """Return the legacy type name that PyTorch prints: ``torch.cuda.FloatTensor``."""
    prefix = "torch.cuda." if shown_device(tensor).type == "cuda" else "torch."
    return f"{prefix}{scalar_name(tensor)}Tensor"


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
            if value.numel() <= 1 << 12:  # in-place operations refuse expanded tensors
                return torch.zeros(value.shape, dtype=value.dtype, device="cpu")
            return torch.zeros((), dtype=value.dtype, device="cpu").expand(value.shape)
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
