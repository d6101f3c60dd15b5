"""Sizes of tensors as a tape describes them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from trainworthy.tape.record import Signature, TensorMeta

__all__ = ["element_bytes", "scaled_traffic", "touched_bytes"]

_ELEMENT_BYTES = {
    "float64": 8, "int64": 8, "uint64": 8, "complex64": 8, "complex128": 16, "float32": 4, "int32": 4, "uint32": 4,
    "bfloat16": 2, "float16": 2, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "bool": 1, "complex32": 4,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1,
}  # fmt: skip


def element_bytes(dtype: str) -> int:
    """Return the size of one element; of a type that is not known, 4."""
    return _ELEMENT_BYTES.get(dtype, 4)


def touched_bytes(meta: TensorMeta) -> int:
    """Return what one pass over a tensor moves: elements that a stride of 0 repeats are read once.

    >>> touched_bytes(TensorMeta((4, 8), (8, 1), "float32", "cpu"))
    128
    >>> touched_bytes(TensorMeta((4, 8), (0, 1), "float32", "cpu"))
    32
    """
    elements = prod(size for size, stride in zip(meta.shape, meta.stride, strict=True) if stride or size == 0)
    return elements * element_bytes(meta.dtype)


def scaled_traffic(signature: Signature, inputs: Sequence[TensorMeta], outputs: Sequence[TensorMeta]) -> Signature:
    """Give an operation other tensors; its traffic changes as theirs does."""
    before = sum(map(touched_bytes, (*signature.inputs, *signature.outputs)))
    after = sum(map(touched_bytes, (*inputs, *outputs)))
    moved = signature.moved_bytes if not before else round(signature.moved_bytes * after / before)
    return signature._replace(inputs=tuple(inputs), outputs=tuple(outputs), moved_bytes=moved)
