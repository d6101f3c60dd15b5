"""Sizes that are equal by chance: the script is rehearsed again with one of them changed; no torch here.

A batch of 32 sequences of 32 tokens hides that a mask of shape (batch,) met scores of shape (batch, time). Only what
proves it counts: with one size changed the script fails, with both changed to one other size it runs. Where one of the
two is a size of the model, which cannot change, the refused operation itself must show both: one operand holds the
changed size and, in another dimension, the old one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from trainworthy.tape.record import PHASES, Tape

Resize = dict[str, Any]
_INTEGERS = frozenset({"int64", "int32"})
_PRODUCTS = frozenset({"mm", "addmm", "bmm", "baddbmm", "matmul", "mv", "dot"})
_MAX_LABELLINGS = 8
_SHIFTS = (0, 1)  # a language model is given one token less than the data has


class Again(NamedTuple):
    """How a step ended with other sizes: its error, as a rehearsal describes it, and what was noted of its batches."""

    error: dict[str, Any] | None
    batches: dict[str, Any]

    @property
    def fits(self) -> bool:
        """Whether it ran through a step."""
        return self.error is None

    @property
    def refused(self) -> dict[str, Any] | None:
        """The operation that was refused, if that is how it ended."""
        return self.error.get("refused") if self.error is not None and self.error["kind"] == "exception" else None


def equal_sizes(tape: Tape, again: Callable[[Resize], Again]) -> list[dict[str, Any]]:
    """Return what works only because two sizes are equal, as notes for the rule that reports it."""
    batches = tape.notes.get("check", {}).get("batches")
    if not batches or tape.notes.get("error") or tape.reference_step is None:
        return []
    taken = sizes_of(tape)
    if batches["tensors"]:
        return list(_of_loader(batches, tape, taken, again))
    return list(of_moves(batches["moves"], taken, again))


def last_batch(tape: Tape, again: Callable[[Resize], Again]) -> list[dict[str, Any]]:
    """Return how a step ends with the single sample that is left for the last batch of an epoch, if it fails."""
    batches = tape.notes.get("check", {}).get("batches") or {}
    size = batches.get("samples")
    if batches.get("last_samples") != 1 or size == 1 or tape.notes.get("error") or tape.reference_step is None:
        return []
    error = again({"samples": [size, 1]}).error
    if error is None or error["kind"] != "exception":
        return []
    return [{"path": error.get("path"), "line": error.get("line"), "size": size, "message": error["message"]}]


# --- batches of a loader ----------------------------------------------------------------------------


def _of_loader(
    batches: dict[str, Any], tape: Tape, taken: set[int], again: Callable[[Resize], Again]
) -> Iterator[dict[str, Any]]:
    size, tensors = batches["samples"], batches["tensors"]
    other = smaller(size, taken) if size else None
    if other is not None and (_beside_the_first(tape, size) or any(_is_near(size, shape[1:]) for _, shape in tensors)):
        one = {"samples": [size, other]}
        changed = again(one)
        if not changed.fits:
            found = _two_of_the_batch(changed, one, tensors, (size, other), again)
            found = found or _one_of_the_model(changed, size, other, "the batch")
            if found is not None:
                yield found
            return
    yield from _time(tensors, size, tape, taken, again)


def _two_of_the_batch(
    changed: Again, resize: Resize, tensors: list[Any], sizes: tuple[int, int], again: Callable[[Resize], Again]
) -> dict[str, Any] | None:
    """Say which other dimension of the data has to have the size of the batch: with both changed, the script runs."""
    size, other = sizes
    now = changed.batches.get("tensors") or []
    same_ranks = len(now) == len(tensors) and all(len(a) == len(b) for (_, a), (_, b) in zip(now, tensors, strict=True))
    if not same_ranks or not any(other in shape for _, shape in now):
        return None
    kept = [
        (k, d, old - size)
        for k, ((_, before), (_, after)) in enumerate(zip(tensors, now, strict=True))
        for d, (old, new) in enumerate(zip(before, after, strict=True))
        if old == new and old - size in _SHIFTS
    ]
    for group in dict.fromkeys((d, more) for _, d, more in kept):
        cut = [[k, d, size + more, other + more] for k, d, more in kept if (d, more) == group]
        if again({**resize, "crops": cut}).fits:
            dim, more = group
            which = cut[0][0]
            dtype, shape = tensors[which]
            name = "the time" if dtype in _INTEGERS and dim == 1 else f"dimension {dim}"
            less = " less one" if more else ""
            words = f"{name} of the batch's tensor {which}{less} ({dtype} {_shape(shape)})"
            return _found(changed, size, other, ("the batch", words))
    return None


def _time(
    tensors: list[Any], samples: int | None, tape: Tape, taken: set[int], again: Callable[[Resize], Again]
) -> Iterator[dict[str, Any]]:
    """Shorten sequences of tokens whose length is a size of the model too."""
    shapes = {tuple(shape) for _, shape in tensors if len(shape) >= 2}
    whole = all(dtype in _INTEGERS for dtype, shape in tensors if len(shape) >= 2)
    if len(shapes) != 1 or not whole or len(next(iter(shapes))) != 2:
        return
    rows, length = next(iter(shapes))
    other = smaller(length, taken)
    if rows != samples or other is None or length == rows or not _beside_the_first(tape, length, first=2):
        return
    cut = [[k, 1, length, other] for k, (_, shape) in enumerate(tensors) if len(shape) == 2]
    changed = again({"crops": cut})
    found = None if changed.fits else _one_of_the_model(changed, length, other, "the time")
    if found is not None:
        yield found


# --- tensors that move to the GPU in each step ------------------------------------------------------


def of_moves(moves: list[dict[str, Any]], taken: set[int], again: Callable[[Resize], Again]) -> Iterator[Any]:
    """Do the same without a loader, where nothing says which dimension is the batch: every reading has to fail."""
    steady = [move for move in moves if len(move["steps"]) >= 2]
    twice = {n for move in steady for n in move["shape"] if n > 3 and move["shape"].count(n) == 2}
    for size in sorted(twice):
        other = smaller(size, taken)
        places = [(move, [d for d, n in enumerate(move["shape"]) if n == size]) for move in steady]
        places = [(move, dims) for move, dims in places if dims]
        readings = list(_readings([dims for _, dims in places]))
        if other is None or len(readings) > _MAX_LABELLINGS or any(len(dims) > 2 for _, dims in places):
            continue
        ends = []
        for reading in readings:
            cut = [
                [move["line"], _cut_before(move["shape"], dims, dim, other), dim, other]
                for (move, _), dims in zip(places, reading, strict=True) for dim in dims
            ]  # fmt: skip
            ends.append(again({"moved": cut}))
            if ends[-1].fits:
                break
        if any(end.fits for end in ends):
            continue
        whole = [
            [move["line"], _cut_before(move["shape"], dims, dim, other), dim, other]
            for move, dims in places for dim in dims
        ]  # fmt: skip
        if again({"moved": whole}).fits:
            words = f"another dimension of {_shape(places[0][0]['shape'])}"
            yield _found(ends[0], size, other, ("the batch", words))


def _readings(dims: Sequence[list[int]]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Yield which dimensions may be the batch: one of two, one or none where there is only one; dimension 0 first."""
    choices = [[(each[0],), (each[1],)] if len(each) == 2 else [(each[0],), ()] for each in dims]
    yield from itertools.product(*choices)


def _cut_before(shape: list[int], dims: Sequence[int], dim: int, other: int) -> list[int]:
    """Return the shape that a tensor has when it is this dimension's turn to be cut."""
    done = {d for d in dims if d < dim}
    return [other if d in done else n for d, n in enumerate(shape)]


# --- what a refused operation shows -----------------------------------------------------------------


def _one_of_the_model(changed: Again, size: int, other: int, name: str) -> dict[str, Any] | None:
    """Say that a dimension met one of the model, if an operand of the refused operation holds both."""
    refused = changed.refused
    if refused is None or not meets(refused, size, other):
        return None
    return _found(changed, size, other, (name, "a dimension of the model"))


def meets(refused: dict[str, Any], old: int, new: int) -> bool:
    """Tell whether ``new`` meets ``old`` in two operands, and the one with ``old`` has a dimension ``new`` as well."""
    shapes = [shape for shape in refused["shapes"] if shape]
    pairs = list(itertools.combinations(shapes, 2))
    if refused["op"].partition(".")[0] in _PRODUCTS:
        pairs = [(shapes[-2], shapes[-1])] if len(shapes) >= 2 else []
        met = [((a, a[-1]), (b, b[-2] if len(b) > 1 else b[0])) for a, b in pairs]
    else:
        met = [
            ((a, m), (b, n)) for a, b in pairs for m, n in zip(reversed(a), reversed(b), strict=False) if m != n
        ]  # fmt: skip
        if any(1 not in (m, n) and {m, n} != {old, new} for (_, m), (_, n) in met):
            return False
    return any({m, n} == {old, new} and new in (a if m == old else b) for (a, m), (b, n) in met)


def _found(changed: Again, size: int, other: int, names: tuple[str, str]) -> dict[str, Any]:
    error = changed.error or {}
    return {
        "path": error.get("path"), "line": error.get("line"), "names": list(names), "size": size, "changed": other,
        "refused": changed.refused, "message": error.get("message"),
    }  # fmt: skip


# --- sizes ------------------------------------------------------------------------------------------


def smaller(size: int, taken: set[int]) -> int | None:
    """Return a size below ``size`` that nothing has: the largest prime, else the largest; None below 3."""
    free = [n for n in range(size - 1, 2, -1) if n not in taken]
    return next((n for n in free if all(n % d for d in range(2, int(n**0.5) + 1))), free[0] if free else None)


def _is_near(size: int, shape: Sequence[int]) -> bool:
    return any(n - size in _SHIFTS for n in shape)


def sizes_of(tape: Tape) -> set[int]:
    """Return every size of a dimension in a tape."""
    return {size for signature in tape.signatures for t in (*signature.inputs, *signature.outputs) for size in t.shape}


def _beside_the_first(tape: Tape, size: int, first: int = 1) -> bool:
    """Tell whether a size stands anywhere in the forward pass but in the first dimensions."""
    wanted = {PHASES.index("forward"), PHASES.index("loss")}
    used = {row.signature for row in tape.rows if row.phase in wanted}
    return any(
        size in tensor.shape[first:]
        for number in used
        for tensor in (*tape.signatures[number].inputs, *tape.signatures[number].outputs)
    )


def _shape(shape: Sequence[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "") + ")"
