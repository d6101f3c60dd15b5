"""What a softmax is to leave out is set to 0 before it, and 0 is a score like any other.

What it finds:
    `softmax(scores.masked_fill(mask, 0))`, also with `1e-9` for `-1e9`, and `softmax(scores * mask)`; and the largest
    of logits that were masked with 0: `logits.masked_fill(mask, 0).max(...)`.

Why:
    The exponential of 0 is 1: padding gets a weight like a place with an average score, and it is the largest where
    all scores are negative.

How sure:
    Silent if what comes out is masked again. Whether the scores can be negative is not known where the largest is
    taken, so only what is called logits is looked at.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_of
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.masks import is_zero, side_of
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


def attend(query, key, value, mask):
    scores = query @ key.transpose(-2, -1)
    scores = scores.masked_fill(mask, 0.0)
    return torch.softmax(scores, dim=-1) @ value  # <- TW223
"""

GOOD = """\
import torch


def attend(query, key, value, mask):
    scores = query @ key.transpose(-2, -1)
    scores = scores.masked_fill(mask, float("-inf"))
    return torch.softmax(scores, dim=-1) @ value
"""

_SOFTMAX = frozenset({"softmax", "log_softmax"})
_LARGEST = frozenset({"max", "argmax", "topk", "amax"})


@rule(code="TW223", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what goes into a softmax."""
    words = analysis.source.words
    if "torch" not in words or not any("mask" in one for one in words) or not words & {*_SOFTMAX, "logits"}:
        return
    for function in functions_of(analysis.nodes):
        names = bindings_of(function)
        for call in names.calls:
            subject = _subject(analysis.source, call)
            masked = _masked(analysis.source, names, subject) if subject is not None else None
            if masked is not None and _name(call) in _LARGEST and not _is_made_here(names, masked):
                continue
            if masked is not None and not _is_masked_again(names, masked, call):
                yield Hit(
                    place=analysis.place(call),
                    message="what is masked gets the score 0 here, and a share like any other",
                    evidence=(Evidence("it is masked here", analysis.place(masked)),),
                    fix='Fill in `float("-inf")`, or mask what comes out.',
                )


def _subject(source: Source, call: ast.Call) -> ast.expr | None:
    """Return what a softmax, or the largest of logits, is taken of."""
    func = call.func
    name = getattr(func, "attr", getattr(func, "id", ""))
    if name not in _SOFTMAX and name not in _LARGEST:
        return None
    holder = func.value if isinstance(func, ast.Attribute) else None
    free = holder is None or getattr(holder, "id", "") in ("self", "F") or bool(library_of(source, holder))
    subject = (call.args[0] if call.args else None) if free else func.value if isinstance(func, ast.Attribute) else None
    if name in _LARGEST and (subject is None or "logits" not in unparsed(subject).rpartition(".")[2]):
        return None
    return subject


def _masked(source: Source, names: Bindings, subject: ast.expr) -> ast.expr | None:
    """Return the expression that masks something with 0, if that is what a value is."""
    value: ast.expr | None = subject
    if isinstance(subject, ast.Name):
        value = names.value_before(subject)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "masked_fill":
        given = value.args[1:] if library_of(source, value.func.value) else value.args
        filled = value.args[0] if given is not value.args else value.func.value
        return value if len(given) == 2 and _is_small(given[1]) and not _is_activated(names, filled) else None
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
        sides = [side_of(names, one) is not None for one in (value.left, value.right)]
        return value if sum(sides) == 1 else None
    return None


def _name(call: ast.Call) -> str:
    return str(getattr(call.func, "attr", getattr(call.func, "id", "")))


def _is_made_here(names: Bindings, masked: ast.expr) -> bool:
    """Say whether what is masked comes out of a call in this function: what is handed in may be probabilities."""
    filled = masked.func.value if isinstance(masked, ast.Call) and isinstance(masked.func, ast.Attribute) else masked
    value = names.value_before(filled) if isinstance(filled, ast.Name) else filled
    return isinstance(value, ast.Call)


def _is_small(node: ast.expr) -> bool:
    """Say whether a number is 0, or as good as: `1e-9` where `-1e9` is meant."""
    number = node.value if isinstance(node, ast.Constant) else None
    return is_zero(node) or (isinstance(number, float) and 0 < number < 1e-3)


def _is_activated(names: Bindings, node: ast.expr) -> bool:
    """Say whether what is masked cannot be negative."""
    value = names.value_before(node) if isinstance(node, ast.Name) else node
    name = getattr(value.func, "attr", getattr(value.func, "id", "")) if isinstance(value, ast.Call) else ""
    return name in ("sigmoid", "softmax", "relu", "exp")


def _is_masked_again(names: Bindings, masked: ast.expr, call: ast.Call) -> bool:
    """Say whether a mask is applied below the softmax, or to it."""
    for one in walk(names.function):
        if getattr(one, "lineno", 0) < call.lineno or one is masked or any(one is inner for inner in walk(masked)):
            continue
        if isinstance(one, ast.BinOp | ast.AugAssign) and isinstance(one.op, ast.Mult):
            if "mask" in unparsed(one).lower():
                return True
        elif isinstance(one, ast.Call) and "mask" in getattr(one.func, "attr", ""):
            return True
    return False
