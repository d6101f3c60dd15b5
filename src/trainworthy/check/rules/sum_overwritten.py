"""A running sum or count is overwritten in each turn.

What it finds:
    `total = 0` before a loop, `total = loss.item()` in it where `total += loss.item()` was meant, and
    `total / len(loader)` after it; or a counter that the loop only sets to 0 again.

Why:
    The mean of an epoch is the last batch's value divided by the number of batches: far too small, and the best
    checkpoint is chosen by it.

How sure:
    The name is only bound to a number before the loop and anew in it, of what this turn made; its old value is never
    read there, and the result is divided by a count after the loop.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import is_a_count
from trainworthy.check.static.tree import nodes_of, walk

BAD = """\
import torch


def train(model, loader, optimizer, criterion):
    total = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total = loss.item()  # <- TW380
    return total / len(loader)
"""

GOOD = """\
import torch


def train(model, loader, optimizer, criterion):
    total = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)
"""

_Loop = ast.For | ast.AsyncFor | ast.While


@rule(code="TW380", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops behind numbers."""
    if "torch" not in analysis.source.words:
        return
    for kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.Module, ast.For, ast.If, ast.With, ast.While):
        for node in analysis.nodes.get(kind, []):
            for part in ("body", "orelse"):
                block = getattr(node, part, None)
                if isinstance(block, list) and any(isinstance(one, _Loop) for one in block):
                    yield from _in_block(analysis, block)


def _in_block(analysis: Analysis, block: list[ast.stmt]) -> Iterator[Hit]:
    zeros: dict[str, ast.stmt] = {}
    for at, statement in enumerate(block):
        if isinstance(statement, ast.Assign):
            zeros.update(dict.fromkeys(_set_to_zero(statement), statement))
        elif isinstance(statement, _Loop) and zeros:
            for name, start in list(zeros.items()):
                wrong = _overwritten(statement, name)
                use = _used_as_a_sum(block[at + 1 :], name, counted=wrong is not None and _is_zero(wrong))
                if wrong is not None and use is not None:
                    yield Hit(
                        place=analysis.source.place(wrong),
                        message=f"`{name}` is set anew in each turn: only the last one counts",
                        evidence=(
                            Evidence("it starts here", analysis.source.place(start)),
                            Evidence("it is used here", analysis.source.place(use)),
                        ),
                        fix=f"Add it up: `{name} += ...`.",
                    )


def _set_to_zero(statement: ast.Assign) -> list[str]:
    """Return the names that a statement binds to 0."""
    found = []
    for target in statement.targets:
        pairs: list[tuple[ast.expr, ast.expr]] = [(target, statement.value)]
        if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            pairs = list(zip(target.elts, statement.value.elts, strict=False))
        found += [one.id for one, value in pairs if isinstance(one, ast.Name) and _number(value) == 0]
    return found


def _number(value: ast.expr) -> float | None:
    number = getattr(value, "value", None)
    return number if isinstance(number, int | float) and not isinstance(number, bool) else None


def _is_zero(statement: ast.Assign) -> bool:
    return _number(statement.value) == 0


def _overwritten(loop: _Loop, name: str) -> ast.Assign | None:
    """Return the only statement of a loop that mentions a name; it must bind it in every turn."""
    mentions = [one for one in nodes_of(loop, ast.Name) if one.id == name]
    stores = [one for one in mentions if isinstance(one.ctx, ast.Store)]
    if len(stores) != 1:
        return None
    # Only what every turn runs: a value under a condition is the one that was looked for.
    for statement in loop.body:
        if isinstance(statement, ast.Assign) and statement.targets == stores and not isinstance(loop, ast.While):
            before = any(one.lineno < statement.lineno for one in mentions if one is not stores[0])
            shown = all(one.lineno >= statement.lineno for one in mentions)
            reads_itself = any(one in set(walk(statement.value)) for one in mentions)
            wrong = shown and not before and not reads_itself and _is_of_this_turn(statement.value, loop)
            return statement if wrong else None
    return _reset(loop, stores[0])


def _is_of_this_turn(value: ast.expr, loop: _Loop) -> bool:
    """Say whether a value is made of what the turn binds, its number aside, and does not come from what keeps a sum."""
    if isinstance(value, ast.Call) and getattr(value.func, "attr", "") in _KEEPS:
        return False
    if isinstance(value, ast.Constant):
        return True
    bound = {one.id for one in nodes_of(loop, ast.Name) if isinstance(one.ctx, ast.Store)}
    return bool({one.id for one in nodes_of(value, ast.Name)} & (bound - _counters(loop)))


def _counters(loop: _Loop) -> set[str]:
    """Return the names that number a loop's turns."""
    call, target = (loop.iter, loop.target) if isinstance(loop, ast.For | ast.AsyncFor) else (None, None)
    name = getattr(call.func, "id", "") if isinstance(call, ast.Call) else ""
    if name == "enumerate" and isinstance(target, ast.Tuple):
        target = target.elts[0]
    elif name not in ("range", "trange"):
        return set()
    return {target.id} if isinstance(target, ast.Name) else set()


_KEEPS = frozenset({"update", "add", "accumulate", "compute", "average", "avg"})


def _reset(loop: _Loop, store: ast.Name) -> ast.Assign | None:
    """Return the statement of an inner loop that sets a counter to 0 and nothing else."""
    for one in walk(loop):
        if isinstance(one, ast.Assign) and one.targets == [store] and _is_zero(one):
            around = [two for two in nodes_of(loop, ast.For) if one in two.body]
            reads = [two for two in nodes_of(loop, ast.Name) if two.id == store.id]
            return one if around and len(reads) == 1 else None
    return None


def _used_as_a_sum(following: list[ast.stmt], name: str, *, counted: bool) -> ast.AST | None:
    """Return a division of the name, or any use of a counter, in what comes after the loop."""
    for statement in following:
        for one in walk(statement):
            if counted and isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load):
                return one
            if (
                isinstance(one, ast.BinOp)
                and isinstance(one.op, ast.Div)
                and getattr(one.left, "id", "") == name
                and is_a_count(one.right)
            ):
                return one
            if (
                isinstance(one, ast.AugAssign)
                and isinstance(one.op, ast.Div)
                and getattr(one.target, "id", "") == name
                and is_a_count(one.value)
            ):
                return one
        if any(
            isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store) for one in walk(statement)
        ):
            return None
    return None
