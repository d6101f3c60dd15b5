"""What a copy holds is changed, and so is what the original holds.

What it finds:
    A name for a shallow copy (`copy.copy(rows)`, `list(rows)`, `rows[:]`, `dict(options)`, `options.copy()`), and then
    a change two levels down: `options["optimizer"]["lr"] = lr`, `for row in rows: row[0] = mask`, `rows[i].append(x)`.

Why:
    Only the outer list or dictionary is new. The inner ones are those of the original: each round masks more words,
    each run of a sweep starts from the settings of the last one, a configuration's defaults change.

How sure:
    The copy is made from an argument, an attribute, a global or a name that is read again later; nothing replaces what
    the copy holds (`options["optimizer"] = dict(...)`) in the function. `copy.copy` and `.copy()` copy all of an array
    or a data frame: they are looked at only where the first level is a list or a dictionary, by a string as its key, by
    an annotation, or by how the original was written down.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import bindings_of, functions_of
from trainworthy.check.static.shallow import first_change, outlives, shallow_copies
from trainworthy.check.static.tree import unparsed

BAD = """\
import random


def masked(sentences, chance):
    words = list(sentences)  # <- TW561
    for row in words:
        for j in range(len(row)):
            if random.random() < chance:
                row[j] = 0
    return words, sentences
"""
GOOD = """\
import random


def masked(sentences, chance):
    words = [list(row) for row in sentences]
    for row in words:
        for j in range(len(row)):
            if random.random() < chance:
                row[j] = 0
    return words, sentences
"""


@rule(code="TW561", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the copies that functions, and the file itself, make."""
    for scope in (*functions_of(analysis.nodes), analysis.source.tree):
        names = bindings_of(scope)
        for copy in shallow_copies(analysis.source, names):
            change = first_change(copy, names) if outlives(names, copy) else None
            if change is not None:
                yield Hit(
                    place=analysis.place(copy.made),
                    message=f"`{copy.name}` is a shallow copy: what `{unparsed(copy.original)}` holds changes too",
                    evidence=(Evidence("changed here", analysis.place(change)),),
                    fix="copy.deepcopy, or copy what is inside as well.",
                )
