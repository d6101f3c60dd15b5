"""Which losses a turn goes back through, by the tree alone: itself, or in a helper that returns them."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.tree import own, unparsed


def sent_back(body: list[ast.AST], helpers: dict[str, Def]) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names of losses that a turn goes back through, itself or in a helper that returns the loss."""
    for node in body:
        if isinstance(node, ast.Call):
            name = loss_of_backward(node)
            if name:
                yield name, node
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.Call):
            helper = helpers.get(last_name(node.value.func))
            called = unparsed(node.value.func)
            if helper is not None and called in (helper.name, f"self.{helper.name}"):
                at = _place_of_loss(helper)
                target = node.targets[0]
                if at is None and isinstance(target, ast.Name) and _returns_loss(helper):
                    yield target.id, node
                elif at is not None and isinstance(target, ast.Tuple) and at < len(target.elts):
                    one = target.elts[at]
                    if isinstance(one, ast.Name):
                        yield one.id, node


def loss_of_backward(call: ast.Call) -> str:
    """Name the loss that a call goes back through, as `x.backward()` and `engine.backward(x)` do; "" if none."""
    func = call.func
    if not isinstance(func, ast.Attribute) or func.attr not in ("backward", "manual_backward"):
        return ""
    if call.args and isinstance(call.args[0], ast.Name) and not isinstance(func.value, ast.BinOp):
        return call.args[0].id if _is_an_engine(func.value) else ""
    value = func.value
    if isinstance(value, ast.Call) and last_name(value.func) in ("scale", "scale_loss") and len(value.args) == 1:
        value = value.args[0]
    while isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div | ast.Mult):
        value = value.left
    return value.id if isinstance(value, ast.Name) else ""


def _is_an_engine(node: ast.expr) -> bool:
    """Say whether what stands before `.backward(x)` takes a loss: an accelerator, engine or module."""
    return last_name(node).lower() in ("accelerator", "fabric", "engine", "model_engine", "self", "model", "optimizer")


def _returned_losses(helper: Def) -> tuple[set[str], list[ast.expr]]:
    nodes = own(helper)
    places = {loss_of_backward(one): one.lineno for one in nodes if isinstance(one, ast.Call)}
    losses = {one for one, at in places.items() if one and not is_cut(nodes, one, at, helper.end_lineno or 0)}
    return losses, [one.value for one in nodes if isinstance(one, ast.Return) and one.value is not None]


def _returns_loss(helper: Def) -> bool:
    losses, values = _returned_losses(helper)
    return bool(values) and all(isinstance(one, ast.Name) and one.id in losses for one in values)


def _place_of_loss(helper: Def) -> int | None:
    """Return which of several returned values is the loss."""
    losses, values = _returned_losses(helper)
    if len(values) != 1 or not isinstance(values[0], ast.Tuple):
        return None
    places = [at for at, one in enumerate(values[0].elts) if isinstance(one, ast.Name) and one.id in losses]
    return places[0] if places else None


def is_cut(body: Iterable[ast.AST], name: str, first: int, line: int) -> bool:
    """Say whether a name is bound anew between two lines: by then it may be a number, or have no graph."""
    for node in body:
        is_between = isinstance(node, ast.Assign) and first < node.lineno <= line
        if is_between and any(name in bound_names(one) for one in getattr(node, "targets", ())):
            return True
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "detach_":
            return True
    return False


def bound_names(node: ast.expr) -> list[str]:
    """Write what an assignment's target binds, the parts of a tuple one by one."""
    return [unparsed(one) for one in (node.elts if isinstance(node, ast.Tuple) else [node])]
