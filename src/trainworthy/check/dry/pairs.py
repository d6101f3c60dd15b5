"""Operations of a rehearsal in which each sample meets every other, because a column met a row."""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.dry.rows import batch_size, rows
from trainworthy.formulas.broadcast import doubly_expanded
from trainworthy.tape.record import Op, Signature, Tape, TensorInfo

Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]  # of two operands and their result
_ELEMENTWISE = ("sub", "add", "mul", "div", "rsub")
_LOSSES = ("mse_loss", "smooth_l1_loss", "huber_loss", "l1_loss")


def pairs_of_samples(tape: Tape) -> Iterator[tuple[Op, Shapes]]:
    """Yield operations of the reference step, and of an evaluation after it, in which predictions and data meet so."""
    last = tape.segments[-1].step if tape.segments else None  # an evaluation after the steps stands there
    if not any(_may_be(row.signature) for step in {tape.reference_step, last} for row in rows(tape, step)):
        return
    size = batch_size(tape)
    columns, tables = _WrittenColumns(), _Tables(size)
    for op in tape.ops:
        if op.phase not in ("data", "forward", "loss", "other") or op.step not in (tape.reference_step, last):
            continue
        columns.note(op)
        if op.phase == "data":
            continue
        if op.step != tape.reference_step:
            found = _compared(op, columns)
        else:
            found = _operands(op, size, columns) or _indexed(op, size, columns) or _compared(op, columns)
        if found is not None:
            yield op, found
        elif op.step == tape.reference_step:
            yield from tables.see(op, columns)


class _Tables:
    """Tables that a column and a row without gradients give, until one meets a row of predictions; and the reverse.

    A model may say something of all pairs, and keep an axis for it; of one number a sample, it is not asked then.
    """

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._made: dict[int, tuple[Op, Shapes]] = {}  # by the storage of the table
        self._said: dict[int, tuple[Op, Shapes]] = {}  # those of predictions

    def see(self, op: Op, columns: _WrittenColumns) -> Iterator[tuple[Op, Shapes]]:
        """Yield the operation that made a table, when predictions are compared with it."""
        name = op.name.partition(".")[0]
        if len(op.inputs) < 2 or self._size is None or not op.outputs:
            return
        a, b = op.inputs[:2]
        said = self._said.get(a.storage) or self._said.get(b.storage)
        if said is not None and name in ("sub", "rsub", *_LOSSES):
            other = b if a.storage in self._said else a
            if other.kind == "input" and _before_expanding(other) == (self._size,):
                yield said
        self._note_prediction(name, op, columns)
        table = self._made.get(a.storage) or self._made.get(b.storage)
        if table is None:
            result = doubly_expanded(a.shape, b.shape) if op.phase == "other" and name in _ELEMENTWISE else None
            if result == (self._size, self._size) and not columns.has(a, b):
                self._made[op.outputs[0].storage] = op, (a.shape, b.shape, result)
            return
        other = b if a.storage in self._made else a
        if other.kind == "activation" and _before_expanding(other) in ((self._size,), (self._size, 1)):
            if name in ("sub", "rsub", *_LOSSES):
                yield table
        elif op.phase == "other" and op.outputs[0].shape == (self._size, self._size):
            self._made[op.outputs[0].storage] = table

    def _note_prediction(self, name: str, op: Op, columns: _WrittenColumns) -> None:
        a, b = op.inputs[:2]
        written = op.phase in ("forward", "loss") and name in _ELEMENTWISE and columns.has(a, b)
        result = doubly_expanded(a.shape, b.shape) if written and {a.kind, b.kind} <= _OF_A_MODEL else None
        if result is not None and result == (self._size, self._size):
            self._said[op.outputs[0].storage] = op, (a.shape, b.shape, result)


_OF_A_MODEL = {"activation", "temporary"}


def _may_be(signature: Signature) -> bool:
    """Tell, before anything is unfolded, whether the shapes are those of such an operation."""
    name, shapes = signature.name.partition(".")[0], [t.shape for t in signature.inputs[:2]]
    if len(shapes) < 2:
        return False
    if name == "index":
        return len(signature.inputs) == 3 and doubly_expanded(*(t.shape for t in signature.inputs[1:])) is not None
    return name in _LOSSES or (name in (*_ELEMENTWISE, "eq") and doubly_expanded(*shapes) is not None)


class _WrittenColumns:
    """Views and reductions that make a column on purpose: what meets a row through them is a table of pairs."""

    _MAKERS = frozenset(
        "unsqueeze view slice expand _unsafe_view select sum mean norm linalg_vector_norm amax amin max min logsumexp "
        "diagonal cat stack".split()
    )

    def __init__(self) -> None:
        self._seen: set[tuple[int, tuple[int, ...]]] = set()

    def note(self, op: Op) -> None:
        """Remember the result of an operation that adds an axis or keeps one."""
        if op.name.partition(".")[0] in self._MAKERS:
            self._seen.update((t.storage, t.shape) for t in op.outputs)

    def has(self, a: TensorInfo, b: TensorInfo) -> bool:
        """Tell whether one of two tensors was written as a column, or both are one tensor."""
        return a.storage == b.storage or any((t.storage, t.shape) in self._seen for t in (a, b) if len(t.shape) > 1)


def _operands(op: Op, size: int | None, columns: _WrittenColumns) -> Shapes | None:
    """Return the two shapes and that of the result, if an operation is such a broadcast."""
    name = op.name.partition(".")[0]
    if len(op.inputs) < 2:
        return None
    a, b = op.inputs[:2]
    data = [t.kind == "input" for t in (a, b)]
    one_is_data = op.phase != "other" and data[0] != data[1]
    neither = not any(data) and op.phase in ("forward", "loss") and not columns.has(a, b)
    compared = name == "eq" and not all(data) and not columns.has(a, b)
    if (compared or (name in _ELEMENTWISE and (one_is_data or neither))) and "parameter" not in (a.kind, b.kind):
        result = doubly_expanded(a.shape, b.shape)
        both = size is not None and size > 1 and size in a.shape and size in b.shape
        return (a.shape, b.shape, result) if result is not None and both and result.count(size) >= 2 else None
    if name in _LOSSES and a.shape == b.shape:  # expanded before: strides of 0
        small_a, small_b = _before_expanding(a), _before_expanding(b)
        twice = any(n > 1 and n in small_b and a.shape.count(n) >= 2 for n in small_a)
        if twice and small_a != a.shape and small_b != b.shape and len(small_a) != len(small_b):
            return small_a, small_b, a.shape
    return None


def _indexed(op: Op, size: int | None, columns: _WrittenColumns) -> Shapes | None:
    """Return the shapes of two indices of a table, `logp[rows, labels]`, if the labels are a column.

    A block of a table that is meant names its rows as the column: `logp[rows[:, None], labels]`.
    """
    if not op.name.startswith("index.") or len(op.inputs) != 3 or size is None or columns.has(*op.inputs[1:]):
        return None
    a, b = op.inputs[1].shape, op.inputs[2].shape
    return (a, b, (size, size)) if size > 1 and (a, b) == ((size,), (size, 1)) else None


def _compared(op: Op, columns: _WrittenColumns) -> Shapes | None:
    """Return the shapes of what an evaluation compares, whose batch may be another than that of training."""
    if not op.name.startswith("eq.") or op.phase != "other" or len(op.inputs) < 2 or columns.has(*op.inputs[:2]):
        return None
    a, b = op.inputs[0].shape, op.inputs[1].shape
    result = doubly_expanded(a, b)
    square = result is not None and len(result) == 2 and result[0] == result[1]
    return (a, b, result) if result is not None and square and {t.kind for t in op.inputs} != {"input"} else None


def _before_expanding(tensor: TensorInfo) -> tuple[int, ...]:
    shape = tuple(1 if stride == 0 else n for n, stride in zip(tensor.shape, tensor.stride, strict=True))
    while shape and shape[0] == 1 and tensor.shape[len(tensor.shape) - len(shape)] > 1:
        shape = shape[1:]
    return shape
