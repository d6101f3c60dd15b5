"""Values that somebody meant to use, as their statements say, among those that nothing reads."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from trainworthy.check.static.bindings import Bindings
from trainworthy.check.static.tree import nodes_of, unparsed, walk

_COUNTS = re.compile(r"mask|label|target|weight|teacher|reward")
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


def chosen(names: Bindings, unread: set[str]) -> Iterator[tuple[str, ast.Assign]]:
    """Yield unread names whose value depends on a condition, with the first statement that chooses it.

    The choice must be between values, at least one of which no call makes: a call may be there for what it does.
    Numbers and texts are left out: they are often left over.
    """
    given: dict[str, list[ast.Assign]] = defaultdict(list)
    for statement, name in names.plain_assignments():
        if name in unread:
            given[name].append(statement)
    branches: list[ast.If] | None = None
    for name, statements in given.items():
        if len(names.stores[name]) != len(statements):
            continue
        if len(statements) == 1:
            value = statements[0].value
            if isinstance(value, ast.IfExp) and _is_a_choice(value) and not _is_only_there(value.test):
                yield name, statements[0]
            continue
        if branches is None:
            branches = [one for one in nodes_of(names.function, ast.If) if not _is_of_type(one.test)]
        values = [one.value for one in statements]
        if any(_is_left_over(one) for one in values):
            continue
        if any(_is_something(one) for one in values) and any(_bound_in_all(one, statements) for one in branches):
            yield name, min(statements, key=lambda one: one.lineno)


def _is_a_choice(value: ast.IfExp) -> bool:
    """Say whether one of two values is taken, which are not the same in another form."""
    sides = (value.body, value.orelse)
    first, second = ({one.id for one in nodes_of(side, ast.Name)} for side in sides)
    moved = any(isinstance(side, ast.Call | ast.Name) for side in sides) and bool(first & second)
    if moved or _is_of_type(value.test) or any(_is_left_over(side) for side in sides):
        return False
    return any(_is_something(side) for side in sides)


def _is_of_type(test: ast.expr) -> bool:
    """Say whether a condition asks of what type something is: what it chooses is the same in another form."""
    return isinstance(test, ast.Call) and getattr(test.func, "id", "") == "isinstance"


def _is_left_over(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is not None


def _is_only_there(test: ast.expr) -> bool:
    """Say whether a condition only asks for what may be None or missing, as a value with a fallback does."""
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.Is | ast.IsNot | ast.In | ast.NotIn)


def _is_something(value: ast.expr) -> bool:
    """Say whether a value is there for itself, not None: what makes it does nothing else."""
    return not isinstance(value, ast.Constant) and not any(
        isinstance(one, ast.Call | ast.Await | ast.Yield | ast.NamedExpr) for one in walk(value)
    )


def _bound_in_all(branch: ast.If, statements: list[ast.Assign]) -> bool:
    """Say whether the branches of an `if`, of which there is an `else`, bind a name by all of these, or leave."""
    bound = 0
    while True:
        own = sum(one in statements for one in branch.body)
        if not own and not isinstance(branch.body[-1], _LEAVES):
            return False
        bound += own
        if len(branch.orelse) == 1 and isinstance(branch.orelse[0], ast.If):
            branch = branch.orelse[0]
            continue
        last = sum(one in statements for one in branch.orelse)
        leaves = bool(branch.orelse) and isinstance(branch.orelse[-1], _LEAVES)
        return bool(last or leaves) and bound + last == len(statements)


def asked_for(names: Bindings, unread: set[str]) -> Iterator[tuple[str, ast.Assign, ast.expr]]:
    """Yield unread names for what is taken out of a mapping below the question whether it is there.

    With each, the statement that takes it and the question.
    """
    taken = {one: name for one, name in names.plain_assignments() if name in unread}
    if not any(_key_of(one.value) for one in taken):
        return
    for branch in walk(names.function):
        if not isinstance(branch, ast.If):
            continue
        asked = {
            (unparsed(one.comparators[0]), one.left.value)
            for one in (branch.test.values if isinstance(branch.test, ast.BoolOp) else [branch.test])
            if isinstance(one, ast.Compare) and isinstance(one.ops[0], ast.In) and isinstance(one.left, ast.Constant)
        }
        for statement in branch.body if asked else ():
            if isinstance(statement, ast.Assign) and statement in taken and _key_of(statement.value) in asked:
                name = taken[statement]
                prepared = isinstance(statement.value, ast.Call) or len(names.stores[name]) > 1
                if prepared or _COUNTS.search(name):
                    yield name, statement, branch.test


def _key_of(value: ast.expr) -> tuple[str, object] | None:
    """Return the mapping and the key that a value is the entry of, moved or cast perhaps."""
    while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        inner = value.func.value
        if not isinstance(inner, ast.Call | ast.Subscript):
            break
        value = inner
    if isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Constant):
        return unparsed(value.value), value.slice.value
    return None


def given_elsewhere(names: Bindings) -> Iterator[tuple[str, ast.Assign, str, ast.Assign]]:
    """Yield unread names for a result that the other branch of an `if` gives to another name, which is read.

    With each, its statement, the other name and that one's statement. What the result is made of is the other name's
    value before, which goes on as it was.
    """
    for branch in walk(names.function):
        if not isinstance(branch, ast.If) or not branch.orelse:
            continue
        both = [one for one in (*branch.body, *branch.orelse) if isinstance(one, ast.Assign)]
        if all(names.is_read(_first_name(one)) for one in both):
            continue
        calls = [_calls_in(body) for body in (branch.body, branch.orelse)]
        for text in calls[0].keys() & calls[1].keys():
            pair = (calls[0][text], calls[1][text])
            for statement, elsewhere in (pair, pair[::-1]):
                name, other = _first_name(statement), _first_name(elsewhere)
                body = branch.body if statement in branch.body else branch.orelse
                known = not name or not other or name.startswith("_") or name in names.parameters
                if known or name == other or names.is_read(name) or not _is_made_of(statement.value, other):
                    continue
                bound = {one.id for part in body for one in nodes_of(part, ast.Name)
                         if isinstance(one.ctx, ast.Store)}  # fmt: skip
                if other not in bound and names.is_read(other):
                    yield name, statement, other, elsewhere


def _calls_in(body: list[ast.stmt]) -> dict[str, ast.Assign]:
    """Return the statements of a block that give the result of a call to something, by the call."""
    assigns = [one for one in body if isinstance(one, ast.Assign)]
    return {unparsed(one.value): one for one in assigns if isinstance(one.value, ast.Call) and one.value.args}


def _first_name(statement: ast.Assign) -> str:
    target = statement.targets[0]
    if isinstance(target, ast.Tuple) and target.elts:
        target = target.elts[0]
    return target.id if isinstance(target, ast.Name) else ""


def _is_made_of(value: ast.expr, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name for one in walk(value))
