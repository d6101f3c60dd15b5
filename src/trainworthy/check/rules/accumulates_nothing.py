"""The loss is divided as for gradient accumulation, and every batch is a step of its own.

What it finds:
    `loss / gradient_accumulation_steps`, `backward()` and an unconditional `optimizer.step()` in one turn of a loop,
    in a function in which nothing else depends on that number.

Why:
    Nothing is accumulated: the steps are as many as the batches, with gradients that are too small by that number.

How sure:
    The number's name says what it is, and neither a remainder, nor a loop over it, nor another comparison than with 1
    occurs in the function. Silent where DeepSpeed or Accelerate step, which count for themselves.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import functions_around
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
def train(model, optimizer, loader, loss_fn, gradient_accumulation_steps):
    for inputs, labels in loader:
        loss = loss_fn(model(inputs), labels)
        loss = loss / gradient_accumulation_steps
        loss.backward()
        optimizer.step()  # <- TW341
        optimizer.zero_grad()
"""
GOOD = """\
def train(model, optimizer, loader, loss_fn, gradient_accumulation_steps):
    for number, (inputs, labels) in enumerate(loader, 1):
        loss = loss_fn(model(inputs), labels)
        loss = loss / gradient_accumulation_steps
        loss.backward()
        if number % gradient_accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
"""

_NUMBER = re.compile(r"accum")
_STEPS = re.compile(r"optim|^opt|scaler", re.IGNORECASE)


@rule(code="TW341", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loops in which a loss is divided by such a number."""
    if "backward" not in analysis.source.words or not any(_NUMBER.search(one) for one in analysis.source.words):
        return
    for loop in analysis.nodes.get(ast.For, ()):
        if not isinstance(loop, ast.For):
            continue
        divisions = [one for one in walk(loop) if _divides(one)]
        step = next((one for one in loop.body if _is_step(one)), None)
        if step is None or not divisions or not any(_runs_backward(one) for one in loop.body):
            continue
        around = next(iter(functions_around(analysis.nodes, [loop.lineno])), analysis.source.tree)
        name = _number(divisions[0])
        if not any(_counts(one, name) for one in walk(around)):
            yield Hit(
                place=analysis.place(step),
                message=f"the loss is divided by `{name}`, and every batch is a step of its own",
                evidence=(Evidence("it is divided here", analysis.place(divisions[0])),),
                fix=f"Step and clear the gradients only every `{name}` batches.",
            )


def _divides(node: ast.AST) -> bool:
    return bool(_number(node))


def _number(node: ast.AST) -> str:
    """Return the name of the number of batches by which an expression or statement divides a loss; "" if none."""
    divided: ast.expr
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
        divided, by = node.target, node.value
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        divided, by = node.left, node.right
    else:
        return ""
    if "loss" not in unparsed(divided).lower() or not isinstance(by, ast.Name | ast.Attribute):
        return ""
    return last_name(by) if _NUMBER.search(last_name(by)) else ""


def _is_step(statement: ast.stmt) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "step":
        return False
    return _STEPS.search(last_name(call.func.value)) is not None


def _runs_backward(statement: ast.stmt) -> bool:
    return any(
        isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr == "backward"
        for one in walk(statement)
    )


def _counts(node: ast.AST, name: str) -> bool:
    """Say whether something depends on the number, apart from the division and from a comparison with 1."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return name in _names(node.right)
    if isinstance(node, ast.Call) and last_name(node.func) not in ("print", "info", "max", "int", "float"):
        return any(name in _names(one) for one in [*node.args, *(k.value for k in node.keywords)])
    if isinstance(node, ast.Compare) and any(name in _names(one) for one in (node.left, *node.comparators)):
        return not any(getattr(one, "value", None) in (0, 1) for one in (node.left, *node.comparators))
    return False


def _names(node: ast.AST) -> set[str]:
    """Return the names in an expression, apart from divisions of a loss."""
    divisions = {inner for one in walk(node) if _number(one) for inner in walk(one)}
    read = (one for one in walk(node) if one not in divisions)
    return {one.id if isinstance(one, ast.Name) else one.attr for one in read if isinstance(one, _READ)}


_READ = (ast.Name, ast.Attribute)
