"""`next(iter(loader))` in a loop.

What it finds:
    `next(iter(x))`, or `iter(x).next()`, inside a loop, where `x` is made outside of it; also `for batch in x:` that
    is left in its first turn, and a function that returns such a batch to a loop that trains with it.

Why:
    Each turn starts a new iterator: without shuffling it is always the first batch, and worker processes are
    started anew.

How sure:
    `x` is a `DataLoader` made outside of the loop. One draw from a shuffled loader may be meant. Loops that are left at
    once, and functions, are reported if the loop that asks for the batch has a backward pass itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call, Context, LoopNode
from trainworthy.check.static.queries import once_per_place, unwrapped
from trainworthy.check.static.tree import children, nodes_of, unparsed, variables, walk
from trainworthy.check.static.values import Instance, Value

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
    """Look at next(iter(...)) in one expression, and at what gives a first batch to a loop that trains."""
    yield from _first_turns(analysis)
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


def _first_turns(analysis: Analysis) -> Iterator[Hit]:
    """Yield what returns the first batch to a loop that trains, and loops there that are left at once."""
    seen: set[ast.AST] = set()
    for node, drawn, context in _first_batches(analysis):
        loader = unwrapped(drawn)
        if not isinstance(loader, Instance) or loader.type != "torch.utils.data.DataLoader" or loader.made_by is None:
            continue
        training = _asking_loop(node, context, returned=not isinstance(node, ast.For) or _leaves(node) is ast.Return)
        if node in seen or training is None or training in loader.made_by.context.all_loops():
            continue
        if _is_whole(loader.made_by) or _FIXED.search(context.function.name if context.function is not None else ""):
            continue
        seen.add(node)
        yield Hit(
            place=analysis.place(node.iter if isinstance(node, ast.For) else node, context),
            message="a new iterator is started for every batch: this is always the first of an epoch",
            evidence=(
                Evidence("the loader is made here", analysis.place(loader.made_by.node, loader.made_by.context)),
            ),
            fix="Keep one iterator, `batches = iter(loader)`, and start anew where it ends.",
        )


def _first_batches(analysis: Analysis) -> Iterator[tuple[ast.AST, Value, Context]]:
    """Yield where a first batch is drawn, the loader, and what is around."""
    for call in analysis.calls("builtins.next"):
        if not call.context.loops and call.args and _draws_at_once(analysis, call) and not _is_chosen(analysis, call):
            yield call.node, call.args[0], call.context
    for loop in analysis.iterations:
        if isinstance(loop.node, ast.For) and _leaves(loop.node) is not None:
            yield loop.node, loop.iterable, loop.context


def _leaves(loop: ast.For) -> type[ast.stmt] | None:
    """Return how a loop is left in its first turn, which only prepares the batch; None if it may go on."""
    last = loop.body[-1]
    plain = all(isinstance(one, ast.Assign | ast.Return | ast.Break) for one in loop.body)
    return type(last) if plain and isinstance(last, ast.Return | ast.Break) else None


def _asking_loop(node: ast.AST, context: Context, *, returned: bool) -> LoopNode | None:
    """Return the loop in each turn of which something is drawn and a backward pass runs; None if there is none."""
    outer, trains = context, False
    if returned:
        if context.loops or not context.callers or not _is_returned(node, context):
            return None
        for caller in context.callers[::-1]:  # the one that asks, and those that lead to it
            outer = caller.context
            if outer.loops:
                break
            trains = trains or (outer.function is not None and _trains_itself(outer.function.node))
    loop = outer.loops[-1] if outer.loops else None
    if not isinstance(loop, ast.For | ast.While) or not (trains or _trains_itself(loop)):
        return None
    return None if any(one in walk(loop) for one, _ in outer.branches) else loop


def _is_returned(node: ast.AST, context: Context) -> bool:
    """Say whether a function returns what it draws, and does not only look at it."""
    if isinstance(node, ast.For) or context.function is None:
        return isinstance(node, ast.For)
    drawn: set[str] = set()
    for one in nodes_of(context.function.node, ast.Assign):
        if node in walk(one.value):
            drawn |= {name for target in one.targets for name in variables(target)}
    returns = nodes_of(context.function.node, ast.Return)
    return any(node in walk(one) or drawn & variables(one) for one in returns)


def _trains_itself(loop: ast.For | ast.While | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> bool:
    """Say whether a backward pass stands in a loop, or function, and not in another one within."""
    left: list[ast.AST] = [*loop.body] if isinstance(loop.body, list) else []
    for one in left:  # which grows
        if isinstance(one, ast.Call) and last_name(one.func) in ("backward", "train_step", "training_step"):
            return True
        if not isinstance(one, ast.For | ast.While | ast.FunctionDef | ast.Lambda):
            left += children(one)
    return False


def _is_whole(made: Call) -> bool:
    """Say whether a loader gives all of its data as one batch."""
    size = made.argument_node(1, "batch_size")
    return size is not None and "len(" in unparsed(size)


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
