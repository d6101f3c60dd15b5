"""A running value is read after it was reset.

What it finds:
    `losses.reset()` and below it, in the same turn, `losses.avg`, `losses.val` or `losses.compute()`, with no
    `update()` between; and `running_loss = 0.0` followed by a use of `running_loss`, which was summed up in a loop.

Why:
    What is logged, compared or checked for NaN is the empty meter: always 0, or not a number, whatever the training
    does.

How sure:
    Both stand in one block, and nothing between them may change the value: no loop, no call that gets it or is a method
    of its object's owner. Silent in tests, which ask whether a reset works.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import children, unparsed, walk

BAD = """\
import math


def train(model, loader, optimizer, losses, log):
    for step, batch in enumerate(loader):
        loss = model(batch)
        losses.update(loss.item())
        if step % 100 == 0:
            losses.reset()
            if math.isnan(losses.val):  # <- TW847
                return False


def evaluate(model, loader):
    total = 0.0
    for step, batch in enumerate(loader):
        total += model(batch).item()
        if step % 100 == 99:
            total = 0.0
            print(step, total / 100)  # <- TW847
"""

GOOD = """\
import math


def train(model, loader, optimizer, losses, log):
    for step, batch in enumerate(loader):
        loss = model(batch)
        losses.update(loss.item())
        if step % 100 == 0:
            if math.isnan(losses.val):
                return False
            losses.reset()


def evaluate(model, loader):
    total = 0.0
    for step, batch in enumerate(loader):
        total += model(batch).item()
        if step % 100 == 99:
            print(step, total / 100)
            total = 0.0
"""

_RESETS = frozenset({"reset", "clear", "reset_states", "zero"})
_VALUES = frozenset({"val", "avg", "sum", "average", "mean", "global_avg", "value", "smoothed_value", "median"})
_ASKED = frozenset(
    {"compute", "value", "get_average", "get_value", "average", "mean", "get_metric", "result", "get_avg"}
)
_HARMLESS = frozenset({"print", "len", "range", "str", "float", "int", "isinstance", "format", "round", "min", "max"})
_RUNS = re.compile(r"timer|clock|watch|profiler", re.IGNORECASE)  # what goes on by itself


@rule(code="TW847", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the statements after each reset, in its block."""
    source = analysis.source
    if not source.words & {"torch", "numpy", "math", "tensorflow", "jax"} or is_a_test(source):
        return
    for body in _bodies(analysis):
        for at, statement in enumerate(body[:-1]):
            reset = _reset(statement) or _zeroed(statement)
            if not reset:
                continue
            use = _first_use(body[at + 1 :], reset, meter=isinstance(statement, ast.Expr))
            if use is None or (isinstance(statement, ast.Assign) and not _summed_before(analysis, statement, reset)):
                continue
            yield Hit(
                place=analysis.place(use),
                message=f"`{reset}` was reset before it is read here, in every turn",
                evidence=(Evidence("the reset", analysis.place(statement)),),
                fix="Reset it after its last use.",
            )


def _bodies(analysis: Analysis) -> Iterator[list[ast.stmt]]:
    for kind in (ast.FunctionDef, ast.AsyncFunctionDef, ast.If, ast.For, ast.While, ast.With):
        for node in analysis.nodes.get(kind, ()):
            for part in ("body", "orelse"):
                body: list[ast.stmt] = getattr(node, part, None) or []
                if len(body) > 1:
                    yield body


def _reset(statement: ast.stmt) -> str:
    """Name the meter that a statement resets."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or call.args or call.keywords or not isinstance(call.func, ast.Attribute):
        return ""
    name = _written(call.func.value) if call.func.attr in _RESETS else ""
    return "" if _RUNS.search(name) else name


def _zeroed(statement: ast.stmt) -> str:
    """Name the running sum that a statement sets to zero."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    target, value = statement.targets[0], statement.value
    zero = isinstance(value, ast.Constant) and type(value.value) in (int, float) and value.value == 0
    return target.id if isinstance(target, ast.Name) and zero else ""


def _written(node: ast.expr) -> str:
    inner = node
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return unparsed(node) if isinstance(inner, ast.Name) else ""


def _mentions(node: ast.AST, name: str) -> list[ast.expr]:
    last = name.rpartition(".")[2]
    return [
        one
        for one in walk(node)
        if isinstance(one, ast.Name | ast.Attribute)
        and getattr(one, "id", getattr(one, "attr", "")) == last
        and unparsed(one) == name
    ]


def _first_use(statements: list[ast.stmt], name: str, *, meter: bool) -> ast.expr | None:
    """Return the first use of a value that was reset, if nothing before it may have changed it."""
    for statement in statements:
        if isinstance(statement, ast.For | ast.While | ast.Try | ast.With | Def | ast.ClassDef | ast.Return):
            return None
        parts: list[ast.AST] = [statement.test] if isinstance(statement, ast.If) else [statement]
        for part in parts:
            if meter and _may_update(part, name):
                return None
            found = _mentions(part, name)
            if found:
                return _read(part, found[0], meter=meter)
        if isinstance(statement, ast.If):
            inside = [_first_use(body, name, meter=meter) for body in (statement.body, statement.orelse)]
            if any(inside):
                return inside[0] or inside[1]
            if _mentions(statement, name) or (meter and any(_may_update(one, name) for one in statement.body)):
                return None
    return None


_UPDATES = re.compile(
    r"updat|add|append|accum|record|track|train|eval|valid|test|run|step|forward|measure|observ|push|put|incr|count|load|"
    r"comput|calc|collect|reduce|fit|iter|process",
)


def _may_update(part: ast.AST, name: str) -> bool:
    """Say whether a call may change a meter without naming it."""
    for one in walk(part):
        if isinstance(one, ast.Call) and not _mentions(one.func, name):
            func = one.func
            called = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
            owner = unparsed(func.value) if isinstance(func, ast.Attribute) else ""
            if name.startswith("self.") and not owner and called not in _HARMLESS:
                return True
            if (owner and name.startswith(f"{owner}.")) or (
                called not in _HARMLESS and _UPDATES.search(called.lower())
            ):
                return not owner.endswith(("writer", "logger", "wandb", "logging")) and called != "add_scalar"
    return False


def _read(part: ast.AST, use: ast.expr, *, meter: bool) -> ast.expr | None:
    parents = {child: one for one in walk(part) for child in children(one)}
    parent = parents.get(use)
    if meter:
        if not isinstance(parent, ast.Attribute):
            return None
        above = parents.get(parent)
        called = isinstance(above, ast.Call) and above.func is parent
        if called and isinstance(above, ast.Call):
            return use if parent.attr in _ASKED and not above.args else None
        return use if parent.attr in _VALUES and isinstance(parent.ctx, ast.Load) else None
    if not isinstance(use, ast.Name) or not isinstance(use.ctx, ast.Load):
        return None
    if isinstance(part, ast.expr):  # the test of a branch
        return use if isinstance(parent, ast.Compare) else None
    return use if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call) else None


def _summed_before(analysis: Analysis, statement: ast.stmt, name: str) -> bool:
    """Say whether a loop around a statement adds to a name above it."""
    node: ast.AST = statement
    while (node := analysis.parents.get(node, node)) in analysis.parents and not isinstance(node, Def):
        if isinstance(node, ast.For | ast.While) and any(
            isinstance(one, ast.AugAssign) and getattr(one.target, "id", "") == name and one.lineno < statement.lineno
            for one in walk(node)
        ):
            return True
    return False
