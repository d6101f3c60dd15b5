"""What an operator says of itself: its name, whether it counts, whether the host waits for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch

from trainworthy.tape.collectives import is_collective
from trainworthy.tape.record import TensorMeta

# Not operations of the user: device queries of the profiler, version bumps, symbolic sizes.
_NOISE = frozenset({"device", "_version", "sym_size", "sym_stride", "sym_numel", "is_pinned",
                    "_has_compatible_shallow_copy_type", "is_same_size", "lift_fresh",
                    "_wrap_tensor_autograd"})  # fmt: skip


# Composed of others on backends without a kernel of its own; CPU and CUDA have one. (A meta tensor takes the operator
# mish_backward apart before anything here sees it.)
_ONE_KERNEL = frozenset({"silu_backward"})


def flat_tensors(args: Iterable[Any], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Collect the tensors among arguments, also inside lists."""
    found: list[torch.Tensor] = []
    for value in args:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += [v for v in value if isinstance(v, torch.Tensor)]
    if kwargs:
        found += flat_tensors(kwargs.values(), {})
    return found


class Described(NamedTuple):
    """An operator: its name without overload, whether it decomposes, is left out, communicates."""

    name: str
    composite: bool
    noise: bool
    collective: bool


def describe(func: Any) -> Described:
    """Say what the recorder has to know of an operator."""
    name = func._schema.name.split("::")[-1]
    if func.namespace in {"prim", "profiler"}:  # the dispatcher does not know operators of prim
        return Described(name, composite=False, noise=True, collective=False)
    communicates = is_collective(func)
    noise = name in _NOISE
    return Described(name, is_composite(func, name) and not communicates, noise, communicates)


def is_composite(func: Any, name: str) -> bool:
    """Tell whether an operator runs as the operators that it is composed of."""
    return name not in _ONE_KERNEL and torch._C._dispatch_has_kernel_for_dispatch_key(
        func.name(), torch._C.DispatchKey.CompositeImplicitAutograd
    )


def is_wrapper(kind: type) -> bool:
    """Tell whether a tensor class wraps others (``DTensor``): its own dispatch says what is really run."""
    return kind is not torch.Tensor and hasattr(kind, "__tensor_flatten__")


def is_fake(kind: type) -> bool:
    """Tell whether tensors of a class are torch's own fakes: ``DTensor`` works out shapes with them."""
    return kind.__name__ == "FakeTensor" and kind.__module__.startswith("torch.")


def passed_on(func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a mode answers that leaves an operator to its arguments' classes; ``func`` itself if it does not.

    What a wrapper runs inside comes back to the mode; fakes only work out shapes.
    """
    if any(is_wrapper(kind) for kind in types):
        return NotImplemented
    if any(is_fake(kind) for kind in types):
        return func(*args, **kwargs)
    return func


def plain_tensors(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the tensors that hold the data: those inside, if the tensor is a wrapper."""
    if not is_wrapper(type(tensor)):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()  # type: ignore[attr-defined]
    return [inner for name in names for inner in plain_tensors(getattr(tensor, name))]


def is_causal(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether an attention kernel leaves out what lies after each query: it then does half the work."""
    if "attention" not in func._schema.name:
        return False
    for position, argument in enumerate(func._schema.arguments):
        if argument.name == "is_causal":
            return bool(args[position] if position < len(args) else kwargs.get("is_causal", False))
    return False


def host_syncs(
    func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any],
    metas_in: tuple[TensorMeta, ...], metas_out: tuple[TensorMeta, ...],
) -> int:  # fmt: skip
    """Count how often the host waits for the device in one call."""
    on_gpu = any(not m.device.startswith(("cpu", "meta")) for m in metas_in)
    if not on_gpu:
        return 0
    if name in {"_local_scalar_dense", "equal", "is_nonzero"}:
        return 1
    tags = getattr(func, "tags", ())
    if torch.Tag.dynamic_output_shape in tags:
        if name in {"index", "index_put_"}:
            return int(any(m.dtype in {"bool", "uint8"} for m in metas_in[1:]))
        return 1
    if name in {"_to_copy", "copy_"}:
        to_host = bool(metas_out) and metas_out[0].device == "cpu"
        blocking = not kwargs.get("non_blocking", args[2] if name == "copy_" and len(args) > 2 else False)
        return int(to_host and blocking)
    return 0
