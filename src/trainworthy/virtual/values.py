"""Values of virtual tensors: known ones (shadows), and what is assumed where none is known.

A shadow is a real CPU copy of a whole storage. It comes into being when small real data moves to
the device or a small tensor of constants is made there, and operations whose inputs all have one
compute theirs. Masks made from real labels therefore select the true number of rows. As soon as an
unknown value is written into a storage, its shadow is gone.

Where a value is needed and unknown:

==================  ================================================================
``.item()`` float   1.0
``.item()`` int     1; 0 for positions (``argmax``, ``sort``, ...), but 1 for those of ``topk``
``bool(...)``       False; True after ``isfinite``, ``allclose``, ``equal``, ``all``
``nonzero``, masks  every element is selected (an upper bound of the memory)
``unique``          all values differ (an upper bound)
probabilities       those of a softmax are alike and add up to 1
arrays for NumPy    from 64 elements on, different numbers around 1
==================  ================================================================

Every assumption is listed in the report with the line that needed it.
"""

from __future__ import annotations

from typing import Any

import torch

from trainworthy.virtual.tensors import raw_is_meta

MAX_FLOAT_ELEMENTS = 1024
MAX_INTEGER_ELEMENTS = 1 << 18
MIN_SPREAD_ELEMENTS = 64

POSITIONS = frozenset({"argmax", "argmin", "max", "min", "topk", "sort", "argsort", "multinomial",
                       "randint", "kthvalue", "mode", "median", "max_pool2d_with_indices"})  # fmt: skip
TRUTHS = frozenset({"isfinite", "isclose", "ones_like"})
# A check that something holds for all is taken to pass, one for any mishap to find none.
VERDICTS = {"all": True, "_is_all_true": True, "any": False, "_is_any_true": False}
PASS_TRUTH = frozenset({"all", "any", "_is_all_true", "_is_any_true", "logical_and",
                        "bitwise_and", "logical_or", "bitwise_or",
                        "view", "_to_copy", "squeeze", "detach", "stack", "cat"})  # fmt: skip


def small_enough(tensor: torch.Tensor) -> bool:
    """Tell whether the values of a tensor are worth keeping."""
    limit = MAX_FLOAT_ELEMENTS if tensor.dtype.is_floating_point or tensor.dtype.is_complex else MAX_INTEGER_ELEMENTS
    return tensor.numel() <= limit


def shadow_of(tensor: torch.Tensor) -> torch.Tensor | None:
    """Return the known values of ``tensor`` (a real tensor is its own shadow), else ``None``."""
    if not raw_is_meta(tensor):
        return tensor if tensor.layout is torch.strided else None
    if tensor.layout is not torch.strided:
        return None
    storage: Any = tensor.untyped_storage()
    flat = getattr(storage, "_tw_shadow", None)
    if flat is None or flat.dtype != tensor.dtype:
        return None
    return torch.as_strided(flat, tensor.shape, tensor.stride(), tensor.storage_offset())


def set_shadow(tensor: torch.Tensor, values: torch.Tensor) -> None:
    """Keep ``values`` as the known values of the whole storage of ``tensor``."""
    if tensor.layout is not torch.strided or values.layout is not torch.strided:
        return
    if not small_enough(values) or values.dtype != tensor.dtype:
        return
    storage: Any = tensor.untyped_storage()
    elements = storage.nbytes() // max(tensor.element_size(), 1)
    flat = torch.zeros(elements, dtype=tensor.dtype, device="cpu")
    torch.as_strided(flat, tensor.shape, tensor.stride(), tensor.storage_offset()).copy_(values)
    storage._tw_shadow = flat


def drop_shadow(tensor: torch.Tensor) -> None:
    """Forget the values of a storage that something unknown was written into."""
    if tensor.layout is torch.strided:
        storage: Any = tensor.untyped_storage()
        if getattr(storage, "_tw_shadow", None) is not None:
            storage._tw_shadow = None


def hint_of(tensor: torch.Tensor) -> object:
    """Return what is assumed of the values of ``tensor``, if anything special is."""
    if tensor.layout is not torch.strided:
        return None
    return getattr(tensor.untyped_storage(), "_tw_hint", None)


def set_hint(tensor: torch.Tensor, hint: object) -> None:
    """Say what to assume of the values of ``tensor``."""
    if tensor.layout is torch.strided:
        storage: Any = tensor.untyped_storage()
        storage._tw_hint = hint


def assumed_value(tensor: torch.Tensor) -> bool | int | float | complex:
    """Return the number that stands for an unknown element of ``tensor``."""
    hint = hint_of(tensor)
    if tensor.dtype is torch.bool:
        return bool(hint)
    if tensor.dtype.is_complex:
        return complex(1.0)
    if tensor.dtype.is_floating_point:
        return float(hint) if isinstance(hint, (int, float)) else 1.0
    return hint if isinstance(hint, int) else 1


def assumed_values(tensor: torch.Tensor) -> torch.Tensor:
    """Return a real tensor that stands for a virtual one: its shadow, or the assumed number."""
    known = shadow_of(tensor)
    if known is not None:
        return known.clone()
    if tensor.layout is torch.sparse_coo:
        return _assumed_coo(tensor)
    if tensor.layout is not torch.strided:
        raise NotImplementedError(f"values of a virtual tensor with layout {tensor.layout} are not known")
    return torch.full(tensor.shape, assumed_value(tensor), dtype=tensor.dtype, device="cpu")


def is_spread(tensor: torch.Tensor) -> bool:
    """Tell whether unknown values handed to NumPy are numbers around 1, not all the same.

    Libraries that look for structure in an array (an embedding, a fit) divide by its spread.
    """
    if not tensor.dtype.is_floating_point or tensor.numel() < MIN_SPREAD_ELEMENTS or tensor.layout is not torch.strided:
        return False
    return shadow_of(tensor) is None and hint_of(tensor) is None


def spread_values(tensor: torch.Tensor) -> torch.Tensor:
    """Return different numbers between 0.5 and 1.5 in the shape of ``tensor``; always the same ones."""
    golden = 0.6180339887498949
    numbers = torch.arange(tensor.numel(), dtype=torch.float64, device="cpu").mul_(golden).remainder_(1.0).add_(0.5)
    return numbers.to(tensor.dtype).reshape(tensor.shape)


def _assumed_coo(tensor: torch.Tensor) -> torch.Tensor:
    """Return a real sparse tensor whose elements fill it from the first position on."""
    shape, found = tensor.shape[: tensor.sparse_dim()], tensor._values()
    numbers = torch.arange(found.shape[0], device="cpu")
    columns = []
    for size in reversed(shape):
        columns.append(numbers % max(size, 1))
        numbers = numbers // max(size, 1)
    values = torch.ones(found.shape, dtype=found.dtype, device="cpu")
    indices = torch.stack(columns[::-1])
    return torch.sparse_coo_tensor(
        indices, values, tensor.shape, is_coalesced=tensor.is_coalesced(), check_invariants=False, device="cpu"
    )


def set_hints(name: str, args: tuple[Any, ...], tensors: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
    """Say what is assumed of the values of ``outputs``."""
    hint: object = None
    if name in POSITIONS:
        outputs, hint = [t for t in outputs if not t.dtype.is_floating_point], 0
        if name == "topk" and tensors[0].numel() > outputs[0].numel():
            hint = 1  # its positions differ; 0 would be the mean in a spectrum, a period of no length
    elif name == "_softmax":
        hint = 1.0 / max(tensors[0].shape[args[1]] if tensors[0].dim() else 1, 1)  # they add up to 1
    elif name in TRUTHS or _is_true(name, args):
        hint = True
    elif name in {"logical_not", "bitwise_not"} and tensors[0].dtype is torch.bool:
        hint = True if hint_of(tensors[0]) is False else None
    elif name in PASS_TRUTH and tensors:
        hints = [hint_of(t) for t in tensors]
        known = all(h is not None for h in hints)
        hint = hints[0] if known else VERDICTS.get(name)
    elif name == "mul" and outputs[0].dtype is torch.bool:
        hint = True if all(hint_of(t) is True for t in tensors) else None
    if hint is not None:
        for tensor in outputs:
            set_hint(tensor, hint)


def _is_true(name: str, args: tuple[Any, ...]) -> bool:
    """Recognise the parts of ``isfinite``: equal to itself, and not infinite."""
    if name == "eq":
        return args[0] is args[1]
    return name == "ne" and isinstance(args[1], float) and args[1] == float("inf")
