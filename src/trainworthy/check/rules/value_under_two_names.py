"""One value is recorded under two names, of which it is one.

What it finds:
    `log("mel_loss", mel_loss)` and beside it `log("dur_loss", mel_loss)`: two lines that differ in the name under which
    something is recorded, and in nothing else. Also entries of one dict.

Why:
    It is a line that was copied and changed in part: one curve is another one's, and its own is never seen.

How sure:
    Both names are alike but for one word, and name a loss or a score; the value is called by the first word and not by
    the second, or something else in the function is called by the second. Nothing in the value is bound anew between
    the two.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, bindings_of, functions_around
from trainworthy.check.static.tree import nodes_of, own, unparsed, walk

BAD = """\
import torch


def report(writer, epoch, mel_loss, duration_loss, pitch_loss):
    writer.add_scalar("eval/mel_loss", mel_loss.mean(), epoch)
    writer.add_scalar("eval/duration_loss", mel_loss.mean(), epoch)  # <- TW827
    writer.add_scalar("eval/pitch_loss", pitch_loss.mean(), epoch)
"""

GOOD = """\
import torch


def report(writer, epoch, mel_loss, duration_loss, pitch_loss):
    writer.add_scalar("eval/mel_loss", mel_loss.mean(), epoch)
    writer.add_scalar("eval/duration_loss", duration_loss.mean(), epoch)
    writer.add_scalar("eval/pitch_loss", pitch_loss.mean(), epoch)
"""

_WORD = re.compile(r"[A-Za-z][a-z]*\d*|\d+")
_MEASURES = frozenset(
    "loss losses acc accuracy error err score f1 iou precision recall reward psnr ssim bleu wer cer auc mae mse".split()
)
_UNITS = frozenset(
    "epoch step iter iteration batch train val valid test eval total avg mean sum all best last final".split()
)
_Record = tuple[str, str, ast.expr, ast.AST]  # the name, what is written beside it, the value, where


@rule(code="TW827", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the lines and entries of each function that record something."""
    text = analysis.source.code.lower()
    if not analysis.source.words & {"torch", "numpy"} or not any(
        one in text for one in ("loss", "acc", "score", "error")
    ):
        return
    texts = [one for one in analysis.nodes.get(ast.Constant, ()) if isinstance(one, ast.Constant) and _is_measure(one)]
    for function in functions_around(analysis.nodes, [one.lineno for one in texts]):
        records = sorted(
            _records(function), key=lambda one: (getattr(one[3], "lineno", 0), getattr(one[3], "col_offset", 0))
        )
        known: dict[tuple[str, str], list[_Record]] = {}
        for record in records:
            known.setdefault((record[1], unparsed(record[2])), []).append(record)
        for group in known.values():
            for one, two in pairwise(group):
                if _is_copied(function, one, two):
                    yield Hit(
                        place=analysis.place(two[3]),
                        message=f"`{unparsed(two[2])}` is recorded as `{two[0]}`, as it is as `{one[0]}`",
                        evidence=(Evidence("here, too", analysis.place(one[3])),),
                    )


def _is_measure(node: ast.Constant) -> bool:
    """Say whether a text names a loss or a score, with another word."""
    if not isinstance(node.value, str) or not 4 < len(node.value) < 60:
        return False
    words = _WORD.findall(node.value)
    return len(words) > 1 and not _MEASURES.isdisjoint(word.lower() for word in words)


def _records(function: Def) -> Iterator[_Record]:
    for node in own(function):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and len(node.value.args) > 1:
            call = node.value
            name, rest = call.args[0], [unparsed(one) for one in (*call.args[2:], *call.keywords)]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value, f"{unparsed(call.func)} {rest}", call.args[1], node
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield key.value, f"dict {id(node)}", value, value
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript) and len(node.targets) == 1:
            target = node.targets[0]
            if isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str):
                yield target.slice.value, unparsed(target.value), node.value, node


def _is_bound_between(function: Def, one: _Record, two: _Record) -> bool:
    """Say whether a name in the value of two records gets another value between them."""
    stores, first = bindings_of(function).stores, getattr(one[3], "end_lineno", 0)
    read = {part.id for part in nodes_of(two[2], ast.Name)}
    return any(first < store.lineno < getattr(two[3], "lineno", 0) for name in read for store in stores.get(name, ()))


def _is_copied(function: Def, one: _Record, two: _Record) -> bool:
    """Say whether the second of two records has the value of the first, and one of its own is there."""
    first, second = (_WORD.findall(record[0]) for record in (one, two))
    differing = [(a.lower(), b.lower()) for a, b in zip(first, second, strict=False) if a != b]
    if len(first) != len(second) or len(differing) != 1 or len(first) < 2:
        return False
    own, other = differing[0]
    if (
        own in _UNITS
        or other in _UNITS
        or own.isdigit()
        or other.isdigit()
        or not _MEASURES & {w.lower() for w in second}
    ):
        return False
    names = [str(getattr(part, "id", "") or getattr(part, "attr", "")) for part in walk(two[2])]
    said = {word.lower() for name in names for word in _WORD.findall(name)}
    if (
        _is_bound_between(function, one, two)
        or not said
        or other in said
        or any(other in word or word in other for word in said if len(word) > 2)
    ):
        return False
    bound = bindings_of(function)
    there = any(
        other in (word.lower() for word in _WORD.findall(name))
        for name in (*bound.stores, *bound.parameters, *bound.reads)
    )
    return there and (own in said or bool(_MEASURES & said))
