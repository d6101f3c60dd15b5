"""A list that is changed in a loop is kept in every turn, and is the same one each time.

What it finds:
    `label = [0] * n` above a loop, and in it `label[i] = 1` and `rows.append(label)`, itself or in a tuple or a dict;
    also under a second name, `label = empty`, which the turn then hands on. Likewise for dicts, sets, arrays and
    tensors that are made above.

Why:
    What is kept are not the values but the one object: at the end, all rows are equal and hold every change. A table of
    labels fills up with ones, a history shows the last state only.

How sure:
    The object is made once, above the loop, is changed and kept in the same turns, and nothing in the loop binds its
    name anew or leaves it after keeping it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.tree import nodes_of, own, walk

BAD = """\
def examples(names, texts):
    label = [0] * len(names)
    rows = []
    for at, name in enumerate(names):
        label[at] = 1
        rows.append({"text": texts[name], "label": label})  # <- TW578
    return rows
"""

GOOD = """\
def examples(names, texts):
    empty = [0] * len(names)
    rows = []
    for at, name in enumerate(names):
        label = empty.copy()
        label[at] = 1
        rows.append({"text": texts[name], "label": label})
    return rows
"""

_MAKERS = frozenset({"list", "dict", "set", "zeros", "ones", "full", "empty", "zeros_like", "ones_like", "defaultdict"})
_CHANGES = frozenset({"append", "extend", "insert", "update", "add", "pop", "remove", "fill_", "zero_", "copy_"})
_KEEPS = frozenset({"append", "add", "insert", "appendleft"})
_LEAVES = ast.Break | ast.Return | ast.Raise


@rule(code="TW578", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the loops of each function, and of the program itself."""
    for scope in (analysis.source.tree, *functions_of(analysis.nodes)):
        nodes = own(scope)
        loops = [one for one in nodes if isinstance(one, (ast.For, ast.While))]
        made = {name: one for one in nodes if (name := _made(one))} if loops else {}
        for loop in loops if made else ():
            yield from _in_loop(analysis, loop, made)


def _made(node: ast.AST) -> str:
    """Name the variable that a statement gives a new list, dict, set, array or tensor."""
    if not isinstance(node, ast.Assign) or len(node.targets) != 1 or not isinstance(node.targets[0], ast.Name):
        return ""
    value = node.value
    literal = isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp)
    repeated = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult) and isinstance(value.left, ast.List)
    called = isinstance(value, ast.Call) and last_name(value.func) in _MAKERS
    return node.targets[0].id if literal or repeated or called else ""


def _in_loop(analysis: Analysis, loop: ast.For | ast.While, made: dict[str, ast.AST]) -> Iterator[Hit]:
    inside = [one for statement in loop.body for one in walk(statement)]
    bound = {one.id for one in nodes_of(loop, ast.Name) if isinstance(one.ctx, ast.Store | ast.Del)}
    others = _other_names(loop, made)
    for name, at in [*made.items(), *others]:
        if (name in bound and (name, at) not in others) or any(one is at for one in inside):
            continue
        changed = next((one for one in inside if _changes(one, name) and not _is_ended(analysis, one)), None)
        uses = _uses if (name, at) in others else _keeps
        kept = next((one for one in inside if uses(one, name, loop)), None) if changed is not None else None
        if kept is None or changed is None or kept is changed or _is_ended(analysis, kept):
            continue
        if _block(analysis, kept, loop) != _block(analysis, changed, loop) and not _holds(
            analysis, changed, kept, loop
        ):
            continue
        yield Hit(
            place=analysis.place(kept),
            message=f"every turn keeps the same `{name}`: at the end, all are what the last turn left",
            evidence=(
                Evidence("it is made once, here", analysis.place(at)),
                Evidence("it is changed here", analysis.place(changed)),
            ),
            fix=f"Make it in the loop, or keep a copy: `{name}.copy()`, `{name}.clone()`.",
        )
        return


def _other_names(loop: ast.For | ast.While, made: dict[str, ast.AST]) -> list[tuple[str, ast.AST]]:
    """Return names that the loop's body gives one of the objects, `label = empty`, at its first level, and only so."""
    found = []
    for one in loop.body:
        if isinstance(one, ast.Assign) and len(one.targets) == 1 and isinstance(one.targets[0], ast.Name):
            value, name = one.value, one.targets[0].id
            stores = [n for n in nodes_of(loop, ast.Name) if n.id == name and isinstance(n.ctx, ast.Store)]
            if isinstance(value, ast.Name) and value.id in made and len(stores) == 1:
                found.append((name, made[value.id]))
    return found


def _changes(node: ast.AST, name: str) -> bool:
    if isinstance(node, ast.Assign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return any(isinstance(one, ast.Subscript) and getattr(one.value, "id", "") == name for one in targets)
    call = node.value if isinstance(node, ast.Expr) else None
    return (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in _CHANGES
        and getattr(call.func.value, "id", "") == name
    )


def _keeps(node: ast.AST, name: str, loop: ast.For | ast.While) -> bool:
    """Say whether a statement puts the object into a list that outlives the turn."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or getattr(call.func, "attr", "") not in _KEEPS or not call.args:
        return False
    holder = getattr(call.func.value, "id", None)  # type: ignore[attr-defined]
    of_the_turn = {
        one.id for one in nodes_of(loop, ast.Name) if isinstance(one.ctx, ast.Store)
    }  # fmt: skip
    if holder == name or holder in of_the_turn:
        return False
    held = set(_elements(call.args[-1]))
    for one in walk(loop):
        if isinstance(one, ast.Assign) and any(getattr(each, "id", "") in held for each in one.targets):
            held |= set(_elements(one.value)) if isinstance(one.value, ast.Dict | ast.List | ast.Tuple) else set()
    return name in held


def _uses(node: ast.AST, name: str, loop: ast.For | ast.While) -> bool:
    """Say whether a statement of the loop's first level hands the object on, or makes something of it as it is."""
    value = getattr(node, "value", None) if isinstance(node, ast.Assign | ast.Expr) and node in loop.body else None
    given = value.args if isinstance(value, ast.Call) else [value] if isinstance(value, ast.Dict | ast.Tuple) else []
    return any(name in _elements(one) for one in given)


def _elements(value: ast.expr) -> Iterator[str]:
    """Yield the names that stand in a value as they are, or in the literals that it is made of."""
    if isinstance(value, ast.Name):
        yield value.id
    elif isinstance(value, ast.Tuple | ast.List | ast.Dict):
        for one in value.values if isinstance(value, ast.Dict) else value.elts:
            yield from _elements(one)


def _block(analysis: Analysis, node: ast.AST, loop: ast.AST) -> ast.AST | None:
    """Return the branch of the loop's body in which a statement stands; the loop itself for its first level."""
    above = analysis.parents.get(node)
    while above is not None and above is not loop and not isinstance(above, ast.If | ast.Try | ast.Match):
        above = analysis.parents.get(above)
    return above


def _holds(analysis: Analysis, changed: ast.AST, kept: ast.AST, loop: ast.AST) -> bool:
    """Say whether what is kept in a turn's first level was changed in a branch of it."""
    return _block(analysis, kept, loop) is loop and _block(analysis, changed, loop) is not None


def _is_ended(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether the loop is left right after a statement, in its own block."""
    block = analysis.parents.get(node)
    body = next(
        (b for b in (getattr(block, n, None) for n in ("body", "orelse")) if isinstance(b, list) and node in b), []
    )
    after = body[body.index(node) + 1 :] if node in body else []
    return any(isinstance(one, _LEAVES) for one in after)
