"""What torch.compile would make of a tape: chains of elementwise work become one kernel each.

Inductor joins elementwise operations, casts, reductions and normalisations that run over the same number of elements;
matrix products, convolutions and attention stay calls of a library. A joined kernel reads what comes from outside of
it once and writes what is used after it once; what lives only inside stays in registers. Host time is that of a
generated launch, not of the dispatcher. Only forward, loss, backward and recomputation are compiled: optimizers and
clipping run as they are.

What is not modelled: recomputation that the partitioner of the backward pass chooses, fusion into the epilogue of a
product, reordering, and CUDA graphs (``mode="reduce-overhead"``).

Source: PyTorch 2 (Ansel et al., ASPLOS 2024), section 4; torch/_inductor/scheduler.py (``can_fuse``: same numel).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from trainworthy.estimate.costs import FUSED, FUSED_ELEMENTWISE, FUSED_REDUCTION, is_work
from trainworthy.estimate.metas import touched_bytes
from trainworthy.estimate.op_classes import LAID_OUT, op_class
from trainworthy.estimate.rewrite import NewLeaf, Rows, rewrite
from trainworthy.tape.nodes import Leaf
from trainworthy.tape.record import PHASES, Row, Signature, Tape, TensorMeta

__all__ = ["compiled"]

_FUSIBLE = frozenset(
    {"elementwise", "transcendental", "copy", "fill", "norm", "softmax", "reduction", "random", "loss", "pool"}
)
_COMPILED_PHASES = frozenset(PHASES.index(p) for p in ("forward", "loss", "recompute", "backward"))
_LAID_OUT = frozenset({"gemm", "conv_forward", "conv_backward", "norm"})
_NOT_FUSED = frozenset(
    {"cat", "_foreach_copy_", "topk", "sort", "cumsum", "all_gather_copy_in", "split_with_sizes_copy"}
)


def compiled(tape: Tape) -> Tape:
    """Return the tape as compiled code would run it."""
    return rewrite(tape, _join)


def _join(leaves: Sequence[Leaf], rows: Rows) -> list[NewLeaf]:
    out: list[NewLeaf] = []
    group: list[tuple[Leaf, int]] = []  # with the place of its first integer
    held: list[tuple[Leaf, int]] = []  # views since, which join if the group goes on after them
    at = 0
    for leaf in leaves:
        joins = _joins(leaf, rows)
        if joins == "yes" and (not group or _numel(leaf, rows) == _numel(group[0][0], rows)):
            group += [*held, (leaf, at)]
            held = []
        elif joins == "view" and group:
            held.append((leaf, at))
        else:
            out += _close(group, rows) + [_called(each, place, rows) for each, place in held]
            group, held = [], []
            if joins == "yes":
                group = [(leaf, at)]
            else:
                out.append(_called(leaf, at, rows))
        at += len(leaf.ints)
    return out + _close(group, rows) + [_called(each, place, rows) for each, place in held]


def _joins(leaf: Leaf, rows: Rows) -> str:
    """Say whether a leaf can be part of a joined kernel."""
    row = _row(leaf, rows)
    signature = _signature(row, rows)
    if row.phase not in _COMPILED_PHASES or signature.collective is not None or signature.host_syncs:
        return "no"
    kind = op_class(signature.name)
    if kind == "view" and not is_work(signature):
        return "view"
    tensors = (*signature.inputs, *signature.outputs)
    on_device = all(meta.device == rows.tape.device for meta in tensors)
    name = signature.name.split(".")[0]
    return "yes" if kind in _FUSIBLE and name not in _NOT_FUSED and on_device and signature.outputs else "no"


def _called(leaf: Leaf, at: int, rows: Rows) -> NewLeaf:
    """Keep a leaf; in compiled code its host time is that of a launch."""
    row = _row(leaf, rows)
    signature = _signature(row, rows)
    same = tuple(range(at, at + len(leaf.ints)))
    is_compiled = row.phase in _COMPILED_PHASES and signature.collective is None and not signature.host_syncs
    if not is_compiled or signature.name.rpartition(".")[2].endswith(("wait", "wait_tensor")):
        return NewLeaf(leaf.row, same)
    suffix = LAID_OUT if op_class(signature.name) in _LAID_OUT else ""
    number = rows.signature(signature._replace(name=f"{FUSED}{signature.name}{suffix}"))
    return NewLeaf(rows.row(row._replace(signature=number)), same)


def _close(group: list[tuple[Leaf, int]], rows: Rows) -> list[NewLeaf]:
    """Turn a group into one leaf."""
    if not group:
        return []
    if len(group) == 1:
        return [_called(*group[0], rows)]
    return [_Group(group, rows).leaf()]


class _Group:
    """Operations that become one kernel."""

    def __init__(self, members: list[tuple[Leaf, int]], rows: Rows) -> None:
        self._rows = rows
        self._read: dict[int, tuple[TensorMeta, int]] = {}  # storage -> tensor, place of its number
        self._written: dict[int, tuple[TensorMeta, int]] = {}
        self._born: dict[int, tuple[int, int]] = {}  # storage -> class, place
        self._dead: dict[int, tuple[int, int]] = {}
        self._pointwise = 0
        self._name = FUSED_ELEMENTWISE
        self._first = _row(members[0][0], rows)
        self._numbers: tuple[int, ...] = ()
        for index, (leaf, at) in enumerate(members):
            self._add(leaf, at, is_first=index == 0)

    def _add(self, leaf: Leaf, at: int, *, is_first: bool) -> None:
        row = _row(leaf, self._rows)
        signature = _signature(row, self._rows)
        self._pointwise += signature.pointwise_flops
        if op_class(signature.name) in ("norm", "softmax", "reduction", "loss", "pool"):
            self._name = FUSED_REDUCTION
        holes = self._rows.tape.modules[row.module].count("{}")
        if is_first:
            self._numbers = tuple(range(at, at + holes))
        place = holes
        is_view = not is_work(signature)
        for meta in signature.inputs:
            number = leaf.ints[place]
            if not is_view and number not in self._written:
                self._read.setdefault(number, (meta, at + place))
            place += 1
        for meta in signature.outputs:
            if not is_view:
                self._written[leaf.ints[place]] = (meta, at + place)
            place += 1
        for which in row.births:
            self._born[leaf.ints[place]] = (which, at + place)
            place += 1
        for which in row.deaths:
            self._dead[leaf.ints[place]] = (which, at + place)
            place += 1

    def leaf(self) -> NewLeaf:
        inside = self._born.keys() & self._dead.keys()
        read = list(self._read.values())
        written = [each for number, each in self._written.items() if number not in inside]
        born = [each for number, each in self._born.items() if number not in inside]
        dead = [each for number, each in self._dead.items() if number not in inside]
        inputs, outputs = tuple(meta for meta, _ in read), tuple(meta for meta, _ in written)
        signature = Signature(
            FUSED + self._name, inputs, outputs, 0, self._pointwise, 0, sum(map(touched_bytes, (*inputs, *outputs)))
        )
        row = Row(
            self._rows.signature(signature), self._first.phase, self._first.module, self._first.source,
            tuple(which for which, _ in born), tuple(which for which, _ in dead),
        )  # fmt: skip
        picks = (*self._numbers, *(place for group in (read, written, born, dead) for _, place in group))
        return NewLeaf(self._rows.row(row), picks)


def _row(leaf: Leaf, rows: Rows) -> Row:
    return rows.tape.rows[leaf.row]


def _signature(row: Row, rows: Rows) -> Signature:
    return rows.tape.signatures[row.signature]


def _numel(leaf: Leaf, rows: Rows) -> int:
    """Return over how many elements the kernel of a leaf runs."""
    signature = _signature(_row(leaf, rows), rows)
    return max((prod(meta.shape) for meta in (*signature.inputs, *signature.outputs)), default=0)
