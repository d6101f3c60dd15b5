"""`next(iter(loader))` in a loop.

What it finds:
    `next(iter(x))`, or `iter(x).next()`, inside a loop, where `x` is made outside of it.

Why:
    Each turn starts a new iterator: without shuffling it is always the first batch, and worker processes are
    started anew.

How sure:
    `x` is a `DataLoader` made outside of the loop. One draw from a shuffled loader may be meant.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place, unwrapped
from trainworthy.check.static.tree import unparsed
from trainworthy.check.static.values import Instance

BAD = """\
from torch.utils.data import DataLoader

loader = DataLoader(range(100), batch_size=10)
for step in range(100):
    batch = next(iter(loader))  # <- TW307
"""

GOOD = """\
from torch.utils.data import DataLoader

loader = DataLoader(range(100), batch_size=10)
batches = iter(loader)
for step in range(10):
    batch = next(batches)
"""


@rule(code="TW307", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at next(iter(...)) in one expression."""
    for call in once_per_place(analysis.calls("builtins.next", "builtins.iter")):
        if not call.context.loops or not _draws_at_once(analysis, call) or _is_chosen(analysis, call):
            continue
        loader = unwrapped(call.args[0] if call.args else None)
        if not isinstance(loader, Instance) or loader.type != "torch.utils.data.DataLoader" or loader.made_by is None:
            continue
        if loader.made_by.context.loops and loader.made_by.context.function is call.context.function:
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message="a new iterator is started in every turn of the loop",
            evidence=(
                Evidence("the loader is made here", analysis.place(loader.made_by.node, loader.made_by.context)),
            ),
            fix="Make the iterator before the loop, or go through the loader: `for batch in loader:`.",
        )


_FIXED = re.compile(r"(\b|_)fix(ed)?(\b|_)", re.IGNORECASE)


def _is_chosen(analysis: Analysis, call: Call) -> bool:
    """Say whether a condition asks for the same batch: `if fixed:`."""
    node: ast.AST = call.node
    while node in analysis.parents:
        node = analysis.parents[node]
        if isinstance(node, ast.If) and _FIXED.search(unparsed(node.test)):
            return True
    return False


def _draws_at_once(analysis: Analysis, call: Call) -> bool:
    """Say whether a call is ``next(iter(x))``, or the ``iter(x)`` of ``iter(x).next()``."""
    if call.name == "builtins.next":
        inner = call.node.args[0] if call.node.args else None
        return isinstance(inner, ast.Call) and getattr(inner.func, "id", "") == "iter"
    method = analysis.parents.get(call.node)
    used = analysis.parents.get(method) if method is not None else None
    return getattr(method, "attr", "") in ("next", "__next__") and getattr(used, "func", None) is method
