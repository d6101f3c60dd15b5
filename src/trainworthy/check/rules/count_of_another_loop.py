"""A count is of another loop than the one that compares it.

What it finds:
    `episode_length += 1` at the head of each rollout, while the loop over the steps of the rollout asks
    `episode_length >= limit` and sets it to 0 at the end of an episode. Also `step = model.get_step()` above a loop
    that compares `step` in every turn and trains the model on, by a function that asks `model.get_step()` anew.

Why:
    It counts rollouts and not steps, or stands still while the training goes on: the limit is reached many times too
    late, or never.

How sure:
    The count changes in the inner loop only by being cleared, so that comparing it in each turn there makes no sense
    otherwise. One that is read once is so if the loop hands its owner to a function of the file that reads it again in
    a loop of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, bindings_of, functions_around, functions_of
from trainworthy.check.static.tree import nodes_of, own, walk

BAD = """\
import torch


def rollouts(env, policy, steps, limit):
    state, length = env.reset(), 0
    while True:
        length += 1  # <- TW817
        for step in range(steps):
            state, done = env.step(policy(torch.as_tensor(state)))
            if done or length >= limit:
                length = 0
                state = env.reset()


def schedule(model, sessions, loader):
    step = model.get_step()  # <- TW817
    for rate, last_step in sessions:
        if step >= last_step:
            continue
        train(model, loader, rate, last_step - step)


def train(model, loader, rate, steps):
    for batch in loader:
        loss = model(batch).mean()
        print(model.get_step(), loss.item())
"""

GOOD = """\
import torch


def rollouts(env, policy, steps, limit):
    state, length = env.reset(), 0
    while True:
        for step in range(steps):
            length += 1
            state, done = env.step(policy(torch.as_tensor(state)))
            if done or length >= limit:
                length = 0
                state = env.reset()


def schedule(model, sessions, loader):
    for rate, last_step in sessions:
        step = model.get_step()
        if step >= last_step:
            continue
        train(model, loader, rate, last_step - step)


def train(model, loader, rate, steps):
    for batch in loader:
        loss = model(batch).mean()
        print(model.get_step(), loss.item())
"""

_COUNTS = re.compile(r"step|iter|epoch|count|num|seen|updates")
_Loop = ast.For | ast.While


@rule(code="TW817", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the counts of functions with nested loops."""
    if not analysis.source.words & {"torch", "numpy"}:
        return
    counts = [one for one in analysis.nodes.get(ast.AugAssign, ()) if isinstance(one, ast.AugAssign) and _is_count(one)]
    counts = [one for one in counts if isinstance(analysis.parents.get(one), _Loop)]
    for function in functions_around(analysis.nodes, [one.lineno for one in counts]):
        for one in counts:
            inside = function.lineno < one.lineno <= (function.end_lineno or 0)
            if inside and isinstance(one.target, ast.Name):
                inner = _inner_loop(analysis, function, one, one.target.id)
                if inner is not None:
                    yield Hit(
                        place=analysis.place(one),
                        message=f"`{one.target.id}` counts turns of the outer loop, and is compared in the inner one",
                        evidence=(Evidence("it is compared and cleared in this loop", analysis.place(inner)),),
                        fix="Count in the inner loop.",
                    )
    asking = [one for one in analysis.nodes.get(ast.Assign, ()) if isinstance(one, ast.Assign) and _asked(one)]
    for function in functions_around(analysis.nodes, [one.lineno for one in asking]):
        yield from _read_once(analysis, function)


def _is_count(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.AugAssign)
        and isinstance(node.op, ast.Add)
        and isinstance(node.target, ast.Name)
        and isinstance(node.value, ast.Constant)
        and node.value.value == 1
    )


def _inner_loop(analysis: Analysis, function: Def, count: ast.AugAssign, name: str) -> _Loop | None:
    """Return the loop beside a count that compares and clears it, and the only one that does."""
    outer = analysis.parents.get(count)
    if not isinstance(outer, _Loop):
        return None
    stores = [one for one in nodes_of(function, ast.Name) if one.id == name]
    stores = [one for one in stores if isinstance(one.ctx, ast.Store) and one is not count.target]
    for loop in outer.body:
        if isinstance(loop, _Loop):
            below = {id(one) for one in walk(loop)}
            clears = [one for one in stores if id(one) in below]
            compares = _compares(loop, name)
            others = [one for one in stores if id(one) not in below and one.lineno > outer.lineno]
            if clears and compares and not others and all(_clears(analysis, one) for one in clears):
                return loop
    return None


def _clears(analysis: Analysis, name: ast.Name) -> bool:
    statement = analysis.parents.get(name)
    return (
        isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant) and statement.value.value == 0
    )


def _read_once(analysis: Analysis, function: Def) -> Iterator[Hit]:
    """Yield counts that are asked for above a loop which lets them grow and compares the old one."""
    names = None
    for one in own(function):
        asked = _asked(one)
        if not asked or not isinstance(one, ast.Assign) or not isinstance(one.targets[0], ast.Name):
            continue
        owner, method = asked
        name = one.targets[0].id
        names = names or bindings_of(function)
        if len(names.stores.get(name, ())) != 1:
            continue
        for loop in (each for each in own(function) if isinstance(each, _Loop)):
            if loop.lineno < one.lineno or not _compares(loop, name):
                continue
            again = next(
                (found for call in _calls(loop) if (found := _asks_again(analysis, call, owner, method))), None
            )
            if again is not None:
                yield Hit(
                    place=analysis.place(one),
                    message=f"`{name}` is read once, and compared in each turn of a loop in which it grows",
                    evidence=(
                        Evidence("the loop", analysis.place(loop)._replace(end_line=loop.lineno)),
                        Evidence("it is read again here", analysis.place(again)),
                    ),
                    fix="Read it in the loop.",
                )


def _asked(node: ast.AST) -> tuple[str, str] | tuple[()]:
    """Return which variable is asked for a count by which method."""
    call = node.value if isinstance(node, ast.Assign) else node
    if not isinstance(call, ast.Call) or call.args or call.keywords or not isinstance(call.func, ast.Attribute):
        return ()
    owner = getattr(call.func.value, "id", "")
    return (owner, call.func.attr) if owner and _COUNTS.search(call.func.attr) else ()


def _compares(loop: _Loop, name: str) -> bool:
    return any(
        isinstance(one, ast.Compare) and any(isinstance(part, ast.Name) and part.id == name for part in walk(one))
        for one in walk(loop)
    )


def _calls(loop: _Loop) -> Iterator[ast.Call]:
    return (one for one in nodes_of(loop, ast.Call) if isinstance(one.func, ast.Name))


def _asks_again(analysis: Analysis, call: ast.Call, owner: str, method: str) -> ast.AST | None:
    """Return where a function of the file asks its argument for the same count, in a loop."""
    called = getattr(call.func, "id", "")
    function = next((one for one in functions_of(analysis.nodes) if one.name == called), None)
    for at, one in enumerate(call.args) if function is not None else ():
        if getattr(one, "id", "") == owner and function is not None and at < len(function.args.args):
            wanted = (function.args.args[at].arg, method)
            for loop in (each for each in walk(function) if isinstance(each, _Loop)):
                found = next((part for part in nodes_of(loop, ast.Call) if _asked(part) == wanted), None)
                if found is not None:
                    return found
    return None
