"""``DTensor`` on the virtual cluster.

``DTensor`` runs every operation on the part of this rank, which is virtual; to learn the shape of the whole it runs
it once more on torch's fake tensors, which take a GPU of their own for granted. Meta tensors say the same.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from trainworthy.virtual.device import VirtualDevice, handles
from trainworthy.virtual.effects_imports import when_imported
from trainworthy.virtual.overrides import below
from trainworthy.virtual.tensors import META, raw_empty_strided, raw_kernels

if TYPE_CHECKING:
    from types import ModuleType


def install() -> None:
    """Change how ``DTensor`` learns shapes, as soon as it is imported."""
    when_imported("torch.distributed.tensor._sharding_prop", _patch)
    when_imported("torch.distributed.tensor._dispatch", _patch_random)
    when_imported("torch.distributed._functional_collectives", _patch_waiting)


def _patch(module: ModuleType) -> None:
    propagator: Any = module.ShardingPropagator
    if hasattr(propagator, "_tw_raw_meta"):
        return
    raw = propagator._tw_raw_meta = propagator._propagate_tensor_meta_non_cached

    def propagate(self: Any, op_schema: Any) -> Any:
        if not Active.depth or op_schema.op == torch.ops.aten.equal.default:
            return raw(self, op_schema)
        with _disable_current_modes(), below(), raw_kernels():
            args = _meta_args(op_schema.args_schema)
            kwargs = {name: _meta_args(value) for name, value in op_schema.kwargs_schema.items()}
            return _described(module, op_schema.op(*args, **kwargs))

    propagator._propagate_tensor_meta_non_cached = propagate


def _patch_random(module: Any) -> None:
    """Random numbers have no values here, so no rank has to move its generator on past those of the others."""
    raw = getattr(module, "run_dtensor_rng_op", None)  # torch 2.13 and later
    if raw is None or hasattr(module, "_tw_raw_random"):
        return
    module._tw_raw_random = raw

    def run(start: int, end: int, operator: Any, *args: Any, **kwargs: Any) -> Any:
        if not Active.depth:
            return raw(start, end, operator, *args, **kwargs)
        return operator(*args, **kwargs)

    module.run_dtensor_rng_op = run


def _patch_waiting(module: ModuleType) -> None:
    """Let the tensor that an asynchronous collective will fill be a meta tensor outside, as it is inside."""
    waiting: Any = module.AsyncCollectiveTensor
    if hasattr(waiting, "_tw_raw_new"):
        return
    raw = waiting._tw_raw_new = waiting.__new__

    def new(cls: Any, elem: torch.Tensor) -> Any:
        with raw_kernels() if Active.depth else nullcontext():
            return raw(cls, elem)

    waiting.__new__ = staticmethod(new)


@handles("_wrap_tensor_autograd")
def _wrap_tensor_autograd(device: VirtualDevice, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from torch.distributed._functional_collectives import AsyncCollectiveTensor

    return AsyncCollectiveTensor(args[0])


class Active:
    """How many virtual GPUs are on; the change stays in place after them, and does nothing then."""

    depth = 0

    def __enter__(self) -> None:
        install()
        Active.depth += 1

    def __exit__(self, *exc: object) -> None:
        Active.depth -= 1


def _meta_args(value: Any) -> Any:
    """Replace the descriptions of tensors by meta tensors."""
    meta = getattr(value, "tensor_meta", None)
    if meta is not None:
        return raw_empty_strided(meta.shape, meta.stride, dtype=meta.dtype, device=META)
    if isinstance(value, (list, tuple)):
        return type(value)(_meta_args(item) for item in value)
    if isinstance(value, torch.device) and value.type == "cuda":
        return META
    return value


def _described(module: Any, out: Any) -> Any:
    if isinstance(out, torch.Tensor):
        return module.TensorMeta(shape=out.shape, stride=out.stride(), dtype=out.dtype)
    if isinstance(out, (list, tuple)):
        return type(out)(_described(module, item) for item in out)
    return None
