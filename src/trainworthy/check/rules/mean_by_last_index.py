"""A sum is divided by the last index of its loop instead of the number of turns, or again and again within it.

What it finds:
    `total / i` or `total /= i` below `for i, batch in enumerate(loader): total += ...`, where `i` counts from 0, also
    as a factor; and `total /= n` inside a loop that goes on adding to `total` and never sets it anew.

Why:
    The last index is one less than the number of turns: the mean is too large, and with one turn it divides by zero.
    A sum that is divided inside its loop is divided again in the next turn.

How sure:
    The sum is added to in that loop, the index is that loop's and is not bound again, and the loop has no `break`,
    after which the index would be the number of whole turns. Silent about sums of squares, and where the first turn is
    another one: there is one difference less than there are values.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import is_a_count
from trainworthy.check.static.tree import children, nodes_of, unparsed

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
total = 0.0
for i, batch in enumerate(torch.rand(10, 8, 4)):
    total += model(batch).mean().item()
print(total / i)  # <- TW391
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
total = 0.0
for i, batch in enumerate(torch.rand(10, 8, 4)):
    total += model(batch).mean().item()
print(total / (i + 1))
"""

_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_LEAVES = ast.Break | ast.Return | ast.Raise


@rule(code="TW391", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at divisions, and at the loops around or above them."""
    if not analysis.source.words & {"torch", "numpy"}:
        return
    divisions = [*analysis.nodes.get(ast.BinOp, []), *analysis.nodes.get(ast.AugAssign, [])]
    divided = [one for one in divisions if isinstance(one, ast.BinOp | ast.AugAssign) and isinstance(one.op, ast.Div)]
    indices = {loop: index for loop in analysis.nodes.get(ast.For, []) if isinstance(loop, ast.For)
               and (index := _index(loop))} if divided else {}  # fmt: skip
    names = set(indices.values())
    by_index = [one for one in divided if names & _factors(_sides(one)[1])]
    in_place = [one for one in divided if isinstance(one, ast.AugAssign) and isinstance(one.target, ast.Name)]
    if not by_index and not in_place:
        return
    parents = analysis.parents
    for node in by_index:
        above, below = _sides(node)
        for loop, index in indices.items():
            if _asks_for_the_first(loop, index) or _root(above) not in _sums(loop):
                continue
            if index in _factors(below) and _is_below(loop, node, parents):
                yield Hit(
                    place=analysis.place(node),
                    message=f"`{index}` is the last index, one less than the number of turns",
                    evidence=(Evidence("its loop is here", analysis.place(loop.target)),),
                    fix=f"Divide by `{index} + 1`, or by the length.",
                )
                break
    yield from _within(analysis, in_place, parents)


def _asks_for_the_first(loop: ast.For, index: str) -> bool:
    """Say whether a loop treats its first turn in another way: it may add once less."""
    return any(
        isinstance(one, ast.Compare)
        and isinstance(one.left, ast.Name)
        and one.left.id == index
        and isinstance(one.comparators[0], ast.Constant)
        and one.comparators[0].value in (0, 1)
        for one in _body(loop)
    ) or any(isinstance(one, ast.If) and isinstance(one.test, ast.Name) and one.test.id == index for one in _body(loop))


def _sides(node: ast.BinOp | ast.AugAssign) -> tuple[ast.expr, ast.expr]:
    """Return what is divided, and by what."""
    return (node.left, node.right) if isinstance(node, ast.BinOp) else (node.target, node.value)


def _index(loop: ast.For) -> str:
    """Name the variable that counts a loop's turns from 0; "" if there is none."""
    call, target = loop.iter, loop.target
    if not isinstance(call, ast.Call) or call.keywords or any(isinstance(one, ast.Break) for one in _body(loop)):
        return ""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name == "enumerate" and len(call.args) == 1 and isinstance(target, ast.Tuple) and len(target.elts) == 2:
        target = target.elts[0]
    elif name != "range" or len(call.args) != 1:
        return ""
    return target.id if isinstance(target, ast.Name) else ""


def _body(loop: ast.AST) -> Iterator[ast.AST]:
    """Yield what runs in a loop, functions defined there left out."""
    for child in children(loop):
        if not isinstance(child, _FUNCTIONS | ast.ClassDef):
            yield child
            yield from _body(child)


def _sums(loop: ast.For) -> set[str]:
    """Return the names that a loop adds to; a sum of squares may have one degree of freedom less."""
    return {
        _root(one.target)
        for one in _body(loop)
        if isinstance(one, ast.AugAssign) and isinstance(one.op, ast.Add) and not _is_a_square(one.value)
    } - {""}


def _is_a_square(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.Pow)
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("pow", "square")


def _root(node: ast.expr) -> str:
    """Write what a value is read from, through `.item()` and the like."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and not node.args:
        node = node.func.value
    if isinstance(node, ast.Call) and len(node.args) == 1 and isinstance(node.func, ast.Name):
        return _root(node.args[0])
    return unparsed(node) if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) else ""


def _factors(node: ast.expr) -> set[str]:
    """Return the names that stand alone in a product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _factors(node.left) | _factors(node.right)
    return {node.id} if isinstance(node, ast.Name) else set()


def _is_below(loop: ast.For, node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether something runs after a loop has ended and its index is still the last."""
    line = getattr(node, "lineno", 0)
    if line <= (loop.end_lineno or loop.lineno):
        return False
    index, scope = _index(loop), _scope(loop, parents)
    if _scope(node, parents) is not scope:
        return False
    bound = [one.lineno for one in nodes_of(scope, ast.Name) if one.id == index and isinstance(one.ctx, ast.Store)]
    return all(not loop.lineno < at <= line for at in bound)


def _scope(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.AST:
    while node in parents:
        node = parents[node]
        if isinstance(node, _FUNCTIONS):
            return node
    return node


def _within(analysis: Analysis, divided: list[ast.AugAssign], parents: dict[ast.AST, ast.AST]) -> Iterator[Hit]:
    """Yield sums that are divided in the loop that goes on adding to them."""
    for node in divided:
        if not is_a_count(node.value) or not isinstance(node.target, ast.Name):
            continue
        loop = _goes_on(node, node.target.id, parents)
        if loop is not None:
            yield Hit(
                place=analysis.place(node),
                message=f"`{node.target.id}` is divided in each turn of the loop that goes on adding to it",
                evidence=(Evidence("the loop is here", analysis.place(loop.target)),),
                fix="Divide below the loop.",
            )


def _goes_on(node: ast.AugAssign, name: str, parents: dict[ast.AST, ast.AST]) -> ast.For | None:
    """Return the loop that divides a name, adds to it, and never sets it; None if the loop is left at once."""
    at: ast.AST = node
    while at in parents:
        block = at
        at = parents[at]
        if isinstance(at, _FUNCTIONS):
            return None
        if isinstance(at, ast.If | ast.With | ast.Try) and _ends(at, block):
            return None
        if isinstance(at, ast.For | ast.While):
            inner = list(_body(at))
            sets = any(isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store)
                       and not isinstance(parents.get(one), ast.AugAssign) for one in inner)  # fmt: skip
            adds = any(isinstance(one, ast.AugAssign) and isinstance(one.op, ast.Add)
                       and isinstance(one.target, ast.Name) and one.target.id == name for one in inner)  # fmt: skip
            if sets:
                return None
            if adds:
                return at if isinstance(at, ast.For) else None
    return None


def _ends(block: ast.AST, child: ast.AST) -> bool:
    """Say whether the statements around one leave the loop."""
    for field in ("body", "orelse", "finalbody"):
        statements = getattr(block, field, [])
        if child in statements:
            return any(isinstance(one, _LEAVES) for one in statements)
    return False
