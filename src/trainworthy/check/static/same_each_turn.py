"""Whether what a call is given depends on the turn of a loop around it, followed through names and calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.assigned import last_given, times_given
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tree import nodes_of, own, unparsed

_TEXT = frozenset(
    "join Path PurePath str format joinpath abspath expanduser normpath realpath basename dirname".split()
)
Leaf = tuple[int, ast.Name]


class UnclearError(Exception):
    """An expression is made in a way that is not followed."""


class Way:
    """A call and the calls that lead to it, outermost first; each stands in a frame of its own."""

    def __init__(self, call: Call) -> None:
        self.calls = (*call.context.callers, call)

    def leaves(self, at: int, node: ast.expr, depth: int = 12) -> Iterator[Leaf]:
        """Yield the names that an expression is made of in the end, with the frame of each."""
        if not depth:
            raise UnclearError
        if isinstance(node, ast.Constant):
            return
        if isinstance(node, ast.Name):
            yield from self._of_name(at, node, depth)
        elif isinstance(node, ast.Attribute):
            yield from self._of_attribute(at, node, depth)
        elif isinstance(node, ast.BinOp):
            for one in (node.left, node.right):
                yield from self.leaves(at, one, depth - 1)
        elif isinstance(node, ast.JoinedStr):
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from self.leaves(at, part.value, depth - 1)
        elif isinstance(node, ast.Call) and last_name(node.func) in _TEXT and not node.keywords:
            inner = node.func.value if isinstance(node.func, ast.Attribute) else None
            for one in (*node.args, *([inner] if inner is not None and not _is_module(inner) else [])):
                yield from self.leaves(at, one, depth - 1)
        else:
            raise UnclearError

    def maker(self, node: ast.expr) -> tuple[int, ast.expr]:
        """Return the expression that made what the last call is given, with its frame: names only hand it on."""
        at = len(self.calls) - 1
        for _ in range(12):
            scope = body_of(self.calls[at].context)
            given = last_given(scope, node.id, node.lineno) if isinstance(node, ast.Name) else None
            if given is not None:
                node = given
                continue
            handed = isinstance(node, ast.Name) and at and isinstance(scope, Def) and node.id in _parameters(scope)
            before = _given_for(self.calls[at - 1].node, scope, node.id) if handed else None  # type: ignore[attr-defined,arg-type]
            if before is None:
                break
            at, node = at - 1, before
        return at, node

    def _of_name(self, at: int, node: ast.Name, depth: int) -> Iterator[Leaf]:
        scope = body_of(self.calls[at].context)
        given = last_given(scope, node.id, node.lineno)
        if given is not None:
            yield from self.leaves(at, given, depth - 1)
        elif times_given(scope, node.id) or not isinstance(scope, Def) or node.id not in _parameters(scope):
            yield at, node
        elif at and (handed := _given_for(self.calls[at - 1].node, scope, node.id)) is not None:
            yield from self.leaves(at - 1, handed, depth - 1)

    def _of_attribute(self, at: int, node: ast.Attribute, depth: int) -> Iterator[Leaf]:
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name):
            raise UnclearError
        if root.id != "self":
            yield from self._of_name(at, root, depth)
            return
        scope = body_of(self.calls[at].context)
        given = [
            one.value
            for one in (own(scope) if isinstance(scope, Def) else ())
            if isinstance(one, ast.Assign) and any(unparsed(target) == unparsed(node) for target in one.targets)
        ]
        if len(given) != 1:
            raise UnclearError
        yield from self.leaves(at, given[0], depth - 1)


def _is_module(node: ast.expr) -> bool:
    return unparsed(node) in ("os.path", "osp", "path", "pathlib", "os", "posixpath")


def _parameters(function: Def) -> list[str]:
    arguments = function.args
    return [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _given_for(caller: ast.Call, function: Def, name: str) -> ast.expr | None:
    """Return what a call gives for a parameter; None if it takes the default."""
    if any(one.arg is None for one in caller.keywords) or any(isinstance(one, ast.Starred) for one in caller.args):
        raise UnclearError
    for one in caller.keywords:
        if one.arg == name:
            return one.value
    names = [one for one in _parameters(function) if one not in ("self", "cls")]
    at = names.index(name) if name in names else len(caller.args)
    return caller.args[at] if at < len(caller.args) else None


def bound_in(loop: ast.For) -> set[str]:
    """Return the names that a loop binds: its own, and those that are set in its turns."""
    return {one.id for one in nodes_of(loop, ast.Name) if isinstance(one.ctx, ast.Store)}


def is_the_same(way: Way, node: ast.expr, frame: int, loop: ast.For) -> bool:
    """Say whether an argument of a way's last call has one value in all turns of a loop, which stands in a frame."""
    bound = bound_in(loop)
    try:
        leaves = list(way.leaves(len(way.calls) - 1, node))
    except UnclearError:
        return False
    return not any(at > frame and _is_set(way, at, one) for at, one in leaves) and not any(
        at == frame and one.id in bound for at, one in leaves
    )


def _is_set(way: Way, at: int, name: ast.Name) -> bool:
    """Say whether a frame itself sets a name, by a loop or another statement."""
    return bool(times_given(body_of(way.calls[at].context), name.id))


def counts_turns_within(way: Way, node: ast.expr, frame: int, loop: ast.For) -> bool:
    """Say whether an argument is made of targets of loops alone that run anew in each turn of a loop."""
    try:
        leaves = list(way.leaves(len(way.calls) - 1, node))
    except UnclearError:
        return False
    if not leaves:
        return False
    for at, name in leaves:
        loops = way.calls[at].context.loops
        inner = loops if at > frame else loops[loops.index(loop) + 1 :] if at == frame and loop in loops else ()
        if not any(isinstance(one, ast.For) and name.id in _targets(one) for one in inner):
            return False
    return True


def _targets(loop: ast.For) -> set[str]:
    return {one.id for one in nodes_of(loop.target, ast.Name)}
