"""A tape as lists of numbers and texts, ready for JSON; ``decode.py`` reads them back.

What repeats is written so that compression finds it: tensors are interned, and storage numbers are differences to the
number before, so that the thousand storages of a ``_foreach_`` operation become ``1, 1, 1, ...``. The first number of a
list counts from the newest storage that the operations written before brought to life.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainworthy.errors import TapeError
from trainworthy.tape.nodes import Leaf, Node
from trainworthy.tape.record import (
    Collective,
    ModuleInfo,
    ParameterGroup,
    Row,
    Signature,
    StorageClass,
    Tape,
    TensorMeta,
)

MAX_DEPTH = 32  # of values in notes and details


def encode_tape(tape: Tape) -> dict[str, Any]:
    """Return the tape as values that JSON knows."""
    metas: dict[TensorMeta, int] = {}
    nodes = _Nodes(tape)
    signatures = [_signature(signature, metas) for signature in tape.signatures]
    return {
        "tensors": [[list(m.shape), list(m.stride), m.dtype, m.device] for m in metas],
        "signatures": signatures,
        "sources": [list(source) for source in tape.sources],
        "modules": list(tape.modules),
        "classes": [_storage_class(cls) for cls in tape.classes],
        "rows": [_row(row) for row in tape.rows],
        "segments": [[s.step, s.complete, nodes.encode(s.nodes)] for s in tape.segments],
        "device": tape.device,
        "granularity_bytes": tape.granularity_bytes,
        "model": [_module(info) for info in tape.model],
        "parameter_groups": [_group(group) for group in tape.parameter_groups],
        "groups": [[group.name, list(group.ranks), group.backend] for group in tape.groups],
        "notes": encode_value(tape.notes, "notes"),
    }


def encode_value(value: Any, what: str, depth: int = 0) -> Any:
    """Encode a free value; ``{"tuple": [...]}`` and ``{"dict": {...}}`` keep apart what JSON does not."""
    if depth > MAX_DEPTH:
        raise TapeError(f"{what} is nested more than {MAX_DEPTH} levels deep and cannot be saved.")
    if value is None or type(value) in {bool, float, str}:
        return value
    if type(value) is int:
        if abs(value) >= 1 << 63:
            raise TapeError(f"{what} holds {value:#x}, which does not fit into 64 bits and cannot be saved.")
        return value
    if type(value) is list:
        return [encode_value(item, what, depth + 1) for item in value]
    if type(value) is tuple:
        return {"tuple": [encode_value(item, what, depth + 1) for item in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: encode_value(item, what, depth + 1) for key, item in value.items()}}
    raise TapeError(
        f"{what} holds a {type(value).__name__}, which cannot be saved.",
        fix="Keep to None, bool, int, float, str, and lists, tuples and dicts (with str keys) of these.",
    )


def _signature(signature: Signature, metas: dict[TensorMeta, int]) -> list[Any]:
    inputs, outputs = ([metas.setdefault(m, len(metas)) for m in ms] for ms in (signature.inputs, signature.outputs))
    collective = None if signature.collective is None else _collective(signature.collective)
    return [
        signature.name, inputs, outputs, signature.flops, signature.pointwise_flops, signature.recompute_flops,
        signature.moved_bytes, signature.host_syncs, collective,
    ]  # fmt: skip


def _collective(c: Collective) -> list[Any]:
    return [c.kind, c.group, c.bytes_in, c.bytes_out, c.dtype, c.reduce_op, c.peer, c.is_async]


def _storage_class(cls: StorageClass) -> list[Any]:
    return [cls.device, cls.kind, cls.size_bytes, cls.origin, cls.source, cls.module]


def _row(row: Row) -> list[Any]:
    return [row.signature, row.phase, row.module, row.source, list(row.births), list(row.deaths)]


class _Nodes:
    """Writes nodes; storage numbers as differences, which are small and repeat."""

    def __init__(self, tape: Tape) -> None:
        self.lengths = ints_of_rows(tape.rows, tape.signatures, tape.modules)
        self.newest = 0

    def encode(self, nodes: tuple[Node, ...]) -> list[Any]:
        """Write a leaf as ``[row, ints...]`` and a block as ``{"times", "body", "plus"}``."""
        out: list[Any] = []
        for node in nodes:
            if isinstance(node, Leaf):
                out.append(self._leaf(node))
            else:
                plus = [list(increment) for increment in node.increments]
                out.append({"times": node.count, "body": self.encode(node.body), "plus": plus})
        return out

    def _leaf(self, leaf: Leaf) -> list[int]:
        holes, *lengths = self.lengths[leaf.row]
        out, at, newest = [leaf.row, *leaf.ints[:holes]], holes, self.newest
        for which, length in enumerate(lengths):  # inputs, outputs, births, deaths
            numbers = leaf.ints[at : at + length]
            out += [b - a for a, b in zip((self.newest, *numbers), numbers, strict=False)]
            at += length
            if which == BIRTHS and numbers:
                newest = max(newest, *numbers)
        if at != len(leaf.ints):
            raise TapeError(f"An operation of row {leaf.row} has {len(leaf.ints)} integers, not {at}.")
        self.newest = newest
        return out


BIRTHS = 2  # place of the born storages among the four lists of storage numbers


def ints_of_rows(
    rows: Sequence[Row], signatures: Sequence[Signature], modules: Sequence[str]
) -> list[tuple[int, int, int, int, int]]:
    """Count, for each row, what a leaf's integers are: module indices, inputs, outputs, births, deaths."""
    holes = [template.count("{}") for template in modules]
    tensors = [(len(signature.inputs), len(signature.outputs)) for signature in signatures]
    return [(holes[r.module], *tensors[r.signature], len(r.births), len(r.deaths)) for r in rows]


def _module(info: ModuleInfo) -> list[Any]:
    shape = None if info.output_shape is None else list(info.output_shape)
    return [
        info.template, info.class_name, info.count, list(info.first), list(info.last), info.parameters,
        info.trainable_parameters, info.tied_parameters, info.parameter_bytes, shape,
        encode_value(info.details, f"details of module {info.template!r}"),
    ]  # fmt: skip


def _group(group: ParameterGroup) -> list[Any]:
    return [group.optimizer, group.dtype, group.device, group.layout, group.tensors, group.elements]
