"""Virtual tensors: how they are made and what their storages carry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import torch
from torch._C import TensorBase

# Taken from the C base class: the public attributes of torch.Tensor are patched in a rehearsal.
_is_meta = TensorBase.is_meta.__get__  # type: ignore[attr-defined]
_function_modes = torch._C._len_torch_function_stack
raw_device = TensorBase.device.__get__
raw_to = TensorBase.to
PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})
# Taken before a rehearsal puts wrappers in their place.
raw_empty_strided, _raw_coo = torch.empty_strided, torch.sparse_coo_tensor
_raw_compressed: Any = torch.sparse_compressed_tensor
META = torch.device("meta")
CPU = torch.device("cpu")


class Gpus:
    """The GPUs that a process sees: how many there are, and the one that "cuda" means."""

    count = 1
    current = torch.device("cuda", 0)


def raw_is_meta(tensor: torch.Tensor) -> bool:
    """Tell whether torch itself sees a meta tensor.

    Under a ``TorchFunctionMode`` (a default device is one), and for subclasses with a
    ``__torch_function__``, even the attributes of the C base class lead to the patched ones of
    ``torch.Tensor``.
    """
    if _function_modes() or type(tensor) not in PLAIN:
        with torch._C.DisableTorchFunction():
            return _is_meta(tensor)  # type: ignore[no-any-return]
    return _is_meta(tensor)  # type: ignore[no-any-return]


class Raw:
    """While ``active``, a kernel of torch itself runs: tensors show that they are meta tensors.

    Meta kernels written in Python look at ``.device`` too, through the patched attribute. Holds the
    number of the thread in which such a kernel runs.
    """

    active: int | None = None


@contextmanager
def raw_kernels() -> Iterator[None]:
    """Let meta tensors show that they are, in this thread."""
    before, Raw.active = Raw.active, get_ident()
    try:
        yield
    finally:
        Raw.active = before


class AskedForMeta:
    """While entered, ``device="meta"`` is the script's own wish.

    Otherwise it comes from C++: a composite operation, or a backward formula, that makes a new
    tensor with the options of a virtual one.
    """

    depth = 0

    def __enter__(self) -> None:
        AskedForMeta.depth += 1

    def __exit__(self, *exc: object) -> None:
        AskedForMeta.depth -= 1


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage:
    """Return the storage that carries the state of a virtual tensor."""
    if tensor.layout is torch.strided:
        return tensor.untyped_storage()
    if tensor.layout is torch.sparse_coo:
        return tensor._values().untyped_storage()
    return tensor.values().untyped_storage()


def device_of(tensor: torch.Tensor) -> torch.device | None:
    """Return the device a virtual tensor claims to be on; ``None`` if the tensor is not virtual."""
    if (Raw.active is not None and Raw.active == get_ident()) or not raw_is_meta(tensor):
        return None
    try:
        if type(tensor) not in PLAIN:
            inner = wrapped(tensor)
            if inner is not None:
                return device_of(inner)
            with torch._C.DisableTorchFunction():
                return getattr(storage_of(tensor), "_tw_device", None)
        return getattr(storage_of(tensor), "_tw_device", None)
    except (RuntimeError, NotImplementedError):
        if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            return device_of(torch._C._functorch.get_unwrapped(tensor))
        return None


def wrapped(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the tensor of this rank inside a ``DTensor``, or the one that an asynchronous collective will fill."""
    with torch._C.DisableTorchFunction():
        for name in ("_local_tensor", "elem"):
            inner = getattr(tensor, name, None)
            if isinstance(inner, torch.Tensor):
                return inner
    return None


def is_virtual(tensor: torch.Tensor) -> bool:
    """Tell whether ``tensor`` is virtual (a user's own meta tensor is not)."""
    return raw_is_meta(tensor) and device_of(tensor) is not None


def claim(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Make a meta tensor virtual on ``device``."""
    storage: Any = storage_of(tensor)
    storage._tw_device = device
    if tensor.layout is torch.sparse_coo:
        index_storage: Any = tensor._indices().untyped_storage()
        index_storage._tw_device = device
    elif tensor.layout is not torch.strided:
        for part in _compressed_indices(tensor):
            part_storage: Any = part.untyped_storage()
            part_storage._tw_device = device
    return tensor


def _compressed_indices(tensor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    if tensor.layout in {torch.sparse_csr, torch.sparse_bsr}:
        return tensor.crow_indices(), tensor.col_indices()
    return tensor.ccol_indices(), tensor.row_indices()


def like_real(tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Return a meta tensor with the metadata of another one (not yet claimed)."""
    dtype = dtype or tensor.dtype
    if tensor.layout is torch.strided:
        return raw_empty_strided(tensor.shape, tensor.stride(), dtype=dtype, device=META)
    if tensor.layout is torch.sparse_coo:
        parts = like_real(tensor._indices()), like_real(tensor._values(), dtype)
        return new_coo(*parts, tuple(tensor.shape), tensor.is_coalesced())
    indices = tuple(like_real(part) for part in _compressed_indices(tensor))
    values = like_real(tensor.values(), dtype)
    made: torch.Tensor = _raw_compressed(*indices, values, tensor.shape, layout=tensor.layout, check_invariants=False)
    return made


def new_coo(indices: torch.Tensor, values: torch.Tensor, shape: tuple[int, ...], is_coalesced: bool) -> torch.Tensor:
    """Join meta indices and values (not yet claimed)."""
    return _raw_coo(indices, values, shape, is_coalesced=is_coalesced, check_invariants=False)


def like_virtual(tensor: torch.Tensor) -> torch.Tensor:
    """Return a new virtual tensor with the metadata and device of another."""
    return claim(like_real(tensor), device_of(tensor) or CPU)


def new_virtual(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    stride: tuple[int, ...] | None = None,
) -> torch.Tensor:
    """Make a virtual tensor."""
    if stride is None:
        return claim(torch.empty(shape, dtype=dtype, device=META), device)
    return claim(raw_empty_strided(shape, stride, dtype=dtype, device=META), device)
