"""Sparse tensors: COO and compressed (CSR, CSC, BSR, BSC) ones."""

from __future__ import annotations

from typing import Any

import torch

from trainworthy.virtual.device import VirtualDevice, handles
from trainworthy.virtual.errors import shown_device
from trainworthy.virtual.tensors import claim, like_real, like_virtual, new_coo, new_virtual

aten = torch.ops.aten
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def copy_sparse(source: torch.Tensor, target: torch.device, dtype: torch.dtype | None) -> torch.Tensor:
    """Copy a sparse tensor to another device or dtype."""
    return claim(like_real(source, dtype), target)


def _sparse_product(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    """Multiply sparse by dense (or add such a product): only the dense result's shape matters."""
    mats = [a for a in args if isinstance(a, torch.Tensor)]
    if all(m.layout is torch.strided for m in mats):
        return NotImplemented
    one, two = mats[-2:]
    if torch.strided not in {one.layout, two.layout}:
        return device.run_once(func, args, kwargs)
    if one.shape[-1] != two.shape[-2 if two.dim() > 1 else 0]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({'x'.join(map(str, one.shape))} and "
            f"{'x'.join(map(str, two.shape))})"
        )
    shape = (*one.shape[:-1], *two.shape[-1:]) if two.dim() > 1 else tuple(one.shape[:-1])
    return new_virtual(tuple(shape), two.dtype, shown_device(one))


for _name in ("mm", "addmm", "_sparse_mm", "_sparse_addmm", "mv", "bmm", "sspaddmm", "smm"):
    handles(_name)(_sparse_product)


@handles("_to_dense", "to_dense")
def _to_dense(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    tensor = args[0]
    if tensor.layout is torch.strided:
        return NotImplemented
    return new_virtual(tuple(tensor.shape), tensor.dtype, shown_device(tensor))


@handles("_coalesce")
def _coalesce(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    tensor = args[0]
    parts = like_real(tensor._indices()), like_real(tensor._values())
    return claim(new_coo(*parts, tuple(tensor.shape), True), shown_device(tensor))


@handles("clone")
def _clone(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    return NotImplemented if args[0].layout is torch.strided else like_virtual(args[0])


@handles("transpose", "t")
def _transpose(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    tensor, one, two = (*args, 0, 1)[:3]
    if tensor.layout is not torch.sparse_coo:
        return NotImplemented
    shape = list(tensor.shape)
    shape[one], shape[two] = shape[two], shape[one]
    parts = like_real(tensor._indices()), like_real(tensor._values())
    return claim(new_coo(*parts, tuple(shape), False), shown_device(tensor))


@handles("_nnz")
def _nnz(device: VirtualDevice, func: Any, args: Args, kwargs: Kwargs) -> Any:
    """Count the stored elements; matmul asks before it multiplies."""
    tensor = args[0]
    if tensor.layout is torch.strided:
        return NotImplemented
    found = tensor._values() if tensor.layout is torch.sparse_coo else tensor.values()
    return found.shape[0]
