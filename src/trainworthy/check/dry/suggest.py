"""Shape annotations for a script's own modules, from what they got and gave in several rehearsals.

A dimension is called ``batch`` because it changed when the batch did, not because it comes first; ``time`` because it
changed with the length of the sequences. What never changed is written as its number; what differs from call to call
and follows neither gets a name of its own, the same for dimensions that were equal in every call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainworthy.formulas.shape_names import misfit

RETURN = "return"
Call = Mapping[str, Sequence[Any]]  # name: (kind, shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """The calls of the same rehearsal with one size changed: ``name`` had ``before`` and had ``after``."""

    name: str
    before: int
    after: int
    classes: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What to write at one ``forward``: annotations by parameter (``return`` for its result), and asserts."""

    path: str
    line: int
    class_name: str
    annotations: dict[str, str]
    asserts: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the stable form that ``--format json`` prints."""
        return {
            "path": self.path, "line": self.line, "class": self.class_name, "annotations": self.annotations,
            "asserts": list(self.asserts),
        }  # fmt: skip


def suggestions(classes: Sequence[Mapping[str, Any]], varied: Sequence[Varied] = ()) -> Iterator[Suggestion]:
    """Yield a suggestion for every class whose calls can be described; in the order of the files.

    Args:
        classes: Noted calls by class (``virtual/notes_calls.py``).
        varied: The same of other rehearsals.
    """
    for one in sorted(classes, key=lambda c: (c["path"], c["line"])):
        calls = one["calls"]
        others = [(v, found) for v in varied if (found := _same_class(one, v.classes)) is not None]
        ranks = {name: {len(call[name][1]) for call in calls if name in call} for call in calls for name in call}
        names = [name for name, of in ranks.items() if len(of) == 1]
        described = {name: words for name in names if (words := _describe(name, calls, others)) is not None}
        fits = all(_fits(described, call) for call in calls)
        if described and fits:
            kinds = {name: {call[name][0] for call in calls if name in call} for name in described}
            annotations = {
                name: f'{next(iter(kinds[name])) if len(kinds[name]) == 1 else "Shaped"}[Tensor, "{" ".join(words)}"]'
                for name, words in described.items()
            }
            yield Suggestion(
                path=one["path"], line=one["line"], class_name=one["class"], annotations=annotations,
                asserts=tuple(_asserts(described)),
            )  # fmt: skip


def _same_class(one: Mapping[str, Any], classes: Sequence[Mapping[str, Any]]) -> Sequence[Call] | None:
    """Return the calls of the same class elsewhere, if they are as many and alike in everything but sizes."""
    for other in classes:
        if (other["path"], other["line"], other["class"]) == (one["path"], one["line"], one["class"]):
            alike = len(other["calls"]) == len(one["calls"]) and all(
                {n: len(s) for n, (_, s) in a.items()} == {n: len(s) for n, (_, s) in b.items()}
                for a, b in zip(one["calls"], other["calls"], strict=True)
            )
            return other["calls"] if alike else None
    return None


def _describe(name: str, calls: Sequence[Call], others: Sequence[tuple[Varied, Sequence[Call]]]) -> list[str] | None:
    """Return a word for every dimension of an argument; None if some dimension changed in a way that has no word."""
    mine = [call[name][1] for call in calls if name in call]
    words = []
    for dim in range(len(mine[0])):
        sizes = [shape[dim] for shape in mine]
        changed = [
            (varied, now) for varied, theirs in others
            if (now := [call[name][1][dim] for call in theirs if name in call]) != sizes
        ]  # fmt: skip
        word = _word(sizes, changed) if changed else _constant(sizes, name, dim, len(mine[0]), calls)
        if word is None:
            return None
        words.append(word)
    return words


def _word(sizes: Sequence[int], changed: Sequence[tuple[Varied, Sequence[int]]]) -> str | None:
    """Name a dimension by what it changed with: ``batch``, ``time-1``, ``batch*time``, ``4*batch``."""
    factors = []
    rest = list(sizes)
    if len(changed) == 1:
        varied, now = changed[0]
        shifts = {a - varied.before for a in sizes} | {b - varied.after for b in now}
        if len(shifts) == 1:
            shift = shifts.pop()
            return f"{varied.name}{shift:+d}" if shift else varied.name
    for varied, now in changed:
        if any(a * varied.after != b * varied.before for a, b in zip(sizes, now, strict=True)):
            return None
        factors.append(varied.name)
        if any(size % varied.before for size in rest):
            return None
        rest = [size // varied.before for size in rest]
    if len(set(rest)) != 1:
        return None
    return "*".join([*([str(rest[0])] if rest[0] != 1 else []), *factors])


def _constant(sizes: Sequence[int], name: str, dim: int, rank: int, calls: Sequence[Call]) -> str:
    """Write a size that is always the same as its number, others by a name for all that are always equal to it."""
    if len(set(sizes)) == 1:
        return str(sizes[0])
    if rank == 4 and dim > 0:
        word = ("channels", "height", "width")[dim - 1]
    else:
        word = "features" if dim == rank - 1 else f"d{dim}"
    for other in calls[0]:
        for at in range(len(calls[0][other][1])):
            if (other, at) == (name, dim):
                return f"{word}_out" if name == RETURN and word in ("channels", "features") else word
            theirs = [c[other][1][at] if other in c and len(c[other][1]) > at else None for c in calls]
            if theirs == list(sizes):
                rank_there = len(calls[0][other][1])
                return _constant(theirs, other, at, rank_there, calls)
    return word


def _fits(described: Mapping[str, Sequence[str]], call: Call) -> bool:
    """Tell whether the names hold in a call: one name, one size."""
    bound: dict[str, int] = {}
    return all(
        misfit(" ".join(words), call[name][1], bound) is None for name, words in described.items() if name in call
    )


def _asserts(described: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield statements for the top of ``forward``: ranks and sizes that are numbers, and names that occur again."""
    first: dict[str, str] = {}
    for name, words in described.items():
        if name == RETURN:
            continue
        numbers = [(dim, word) for dim, word in enumerate(words) if word.isdecimal()]
        again = []
        for dim, word in enumerate(words):
            if word.isidentifier() and first.setdefault(word, f"{name}.shape[{dim}]") != f"{name}.shape[{dim}]":
                again.append(f"{name}.shape[{dim}] == {first[word]}")
        parts = [f"{name}.ndim == {len(words)}", *(f"{name}.shape[{dim}] == {n}" for dim, n in numbers), *again]
        yield "assert " + " and ".join(parts)
