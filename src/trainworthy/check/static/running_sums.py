"""Running sums to which a loss is added with its graph, by the tree alone: what `backward` is called on has one."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.backward_losses import bound_names, is_cut, sent_back
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.tree import children, nodes_of, own, unparsed, walk

_FRESH = frozenset({"zeros", "tensor", "zeros_like", "scalar_tensor", "FloatTensor", "Tensor"})
_OFF = re.compile(r"no_grad|inference_mode")
Body = Def | ast.Module


_PART = re.compile(r"loss|error|cost|(^|_)(nll|kl|kld|recon\w*|penalty)($|_)", re.IGNORECASE)


class Kept(NamedTuple):
    """A statement that adds a loss with its graph, the loss, the backward pass that used it, and if for a few turns."""

    statement: ast.AugAssign | ast.Assign | ast.Expr
    loss: ast.expr
    backward: ast.AST
    few: bool = False


def kept_graphs(analysis: Analysis) -> Iterator[Kept]:
    """Yield what a file's functions, and the file outside of them, add up with its graph."""
    words = analysis.source.words
    if not words & {"backward", "manual_backward", "training_step"} or "torch" not in analysis.source.text:
        return
    functions = [one for kind in (ast.FunctionDef, ast.AsyncFunctionDef) for one in analysis.nodes.get(kind, ())]
    defined = [one for one in functions if isinstance(one, Def)]
    times = Counter(one.name for one in defined)
    helpers = {one.name: one for one in defined if times[one.name] == 1}
    classes = [one for one in analysis.nodes.get(ast.ClassDef, ()) if isinstance(one, ast.ClassDef)]
    owners = {one: cls for cls in classes for one in cls.body}
    yield from _in_loops(analysis.source.tree, None, helpers)
    for function in defined:
        owner = owners.get(function)
        yield from _in_loops(function, owner, helpers)
        if owner is not None and function.name == "training_step" and "lightning" in analysis.source.text:
            yield from _in_steps_of_lightning(function, owner)


def _in_loops(function: Body, owner: ast.ClassDef | None, helpers: dict[str, Def]) -> Iterator[Kept]:
    for loop in own(function):
        if isinstance(loop, ast.For | ast.While):
            body = list(_of_one_turn(loop))
            sent = list(sent_back(body, helpers))
            parts = [(part, one) for whole, one in sent for part in (*_parts(body, whole), *_root(body, whole))]
            for name, backward in [*sent, *parts]:
                yield from _appended(body, name, backward, function=function, owner=owner, loop=loop)
                for node in body:
                    target = _sum_with(node, name)
                    first, line = sorted((_line(backward), _line(node)))
                    if target is None or is_cut(body, name, first, line):
                        continue
                    if _starts_as_number(target, function, owner, loop) and not _is_bound_anew(target, function, loop):
                        few = _ends_soon(target, function, loop)
                        yield Kept(node, _summand(node, name), backward, few)  # type: ignore[arg-type]


def _parts(body: list[ast.AST], whole: str) -> Iterator[str]:
    """Name the losses whose sum a loss is, if they are computed in the same turn: they share its graph."""
    made = {
        target.id: one.value
        for one in body
        if isinstance(one, ast.Assign) and len(one.targets) == 1 and isinstance(target := one.targets[0], ast.Name)
    }
    left, seen = [made[whole]] if whole in made else [], {whole}
    for one in left:  # which grows
        if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
            left += [one.left, one.right]
        elif isinstance(one, ast.Name) and _PART.search(one.id) and one.id not in seen:
            seen.add(one.id)
            value = made.get(one.id) or ast.Constant(0)
            if not _has_no_graph(value) and (isinstance(value, ast.BinOp | ast.Call) or _is_added_to(body, one.id)):
                yield one.id
                left.append(value)


def _root(body: list[ast.AST], whole: str) -> Iterator[str]:
    """Name the one tensor that a loss is made of, as `delta` of `delta.square().mean()`: the graph is its own."""
    for one in body:
        if isinstance(one, ast.Assign) and len(one.targets) == 1 and last_name(one.targets[0]) == whole:
            name = getattr(_stripped(one.value), "id", whole)
            if name != whole and any(isinstance(each, ast.Assign) and _binds(each, name) for each in body):
                yield name


def _binds(node: ast.Assign, name: str) -> bool:
    return any(name in bound_names(each) for each in node.targets)


_KEEP_GRAPH = frozenset("mean sum cpu abs square pow sqrt exp log norm max min clone float squeeze flatten".split())


def _stripped(node: ast.expr) -> ast.expr:
    """Look below methods that keep the graph, and powers, products and quotients with a number."""
    while True:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _KEEP_GRAPH:
            torch_s = isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
            if torch_s and not node.args:
                return node
            node = node.args[0] if torch_s else node.func.value
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.Mult | ast.Div):
            if not isinstance(node.right, ast.Constant):
                return node
            node = node.left
        else:
            return node


def _is_added_to(body: list[ast.AST], name: str) -> bool:
    """Say whether something that is computed is added to a name in the turn, or in a loop within it."""
    return any(
        isinstance(one, ast.AugAssign)
        and getattr(one.target, "id", "") == name
        and isinstance(one.value, ast.Call | ast.BinOp)
        and not _has_no_graph(one.value)
        for statement in body
        if isinstance(statement, ast.For | ast.AugAssign)
        for one in walk(statement)
    )


def _has_no_graph(node: ast.expr) -> bool:
    """Say whether an expression is a number, or is cut from its graph."""
    names = {one.attr for one in nodes_of(node, ast.Attribute)}
    called = {getattr(one.func, "id", "") for one in nodes_of(node, ast.Call)}
    return bool(names & {"item", "detach", "data", "numpy", "tolist"}) or bool(called & {"float", "int", "len"})


def _appended(
    body: list[ast.AST], name: str, backward: ast.AST, *, function: Body, owner: ast.ClassDef | None, loop: ast.AST
) -> Iterator[Kept]:
    """Yield where a loss is appended, as it is, to a list that is made outside of the loop and lives on."""
    for node in body:
        call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
        func = call.func if call is not None else None
        if call is None or not isinstance(func, ast.Attribute) or func.attr != "append" or len(call.args) != 1:
            continue
        first, line = sorted((_line(backward), _line(node)))
        if not _is_loss_with_graph(call.args[0], name) or is_cut(body, name, first, line):
            continue
        whole = owner if owner is not None and unparsed(func.value).startswith("self.") else function
        if _is_made_each_turn(func.value, function, loop):
            continue
        if _is_a_list_outside(func.value, whole, loop) and not _is_emptied(func.value, loop, backward):
            yield Kept(node, next(one for one in nodes_of(call.args[0], ast.Name)), backward)  # type: ignore[arg-type]


def appended_beside_numbers(analysis: Analysis) -> Iterator[tuple[ast.Call, ast.Call]]:
    """Yield where a loss is appended with its graph in a function that appends the numbers of others, and one of these.

    No backward pass is made through it, so the graph is kept whole, activations included.
    """
    for function in (analysis.source.tree, *analysis.nodes.get(ast.FunctionDef, ())):
        if not isinstance(function, Body):
            continue
        if not any(last_name(one.func) == "item" for one in nodes_of(function, ast.Call)):
            continue
        calls = [one for one in own(function) if isinstance(one, ast.Call)]
        appends = [one for one in calls if last_name(one.func) == "append" and len(one.args) == 1]
        numbers = [
            one for one in appends if isinstance(one.args[0], ast.Call) and last_name(one.args[0].func) == "item"
        ]
        if len(numbers) < 2 or not any(last_name(one.func) == "backward" for one in calls):
            continue
        for loop in own(function):
            body = list(_of_one_turn(loop)) if isinstance(loop, ast.For | ast.While) else []
            for call in appends:
                target = call.func.value if isinstance(call.func, ast.Attribute) else None
                if call not in body or target is None or not _is_a_fresh_loss(call.args[0], body, call):
                    continue
                kept = not _is_emptied(target, loop, call) and not _is_made_each_turn(target, function, loop)
                if kept and _is_a_list_outside(target, function, loop):
                    yield call, numbers[0]


def _is_a_fresh_loss(node: ast.expr, body: list[ast.AST], call: ast.Call) -> bool:
    """Say whether a name is bound to the value of a loss just above, and the turn does not go back through it."""
    if not isinstance(node, ast.Name):
        return False
    made = [one for one in body if isinstance(one, ast.Assign) and node.id in map(unparsed, one.targets)]
    value = made[0].value if len(made) == 1 and made[0].lineno < call.lineno else None
    loss = isinstance(value, ast.Call) and re.search(r"loss|criterion|cross_entropy", last_name(value.func)) is not None
    numbers = {one.value for one in body if isinstance(one, ast.Attribute) and one.attr in ("item", "detach", "data")}
    read = [one for one in body if isinstance(one, ast.Name) and one.id == node.id and isinstance(one.ctx, ast.Load)]
    return loss and value is not None and not _has_no_graph(value) and set(read) <= {node, *numbers}


def _is_a_list_outside(target: ast.expr, whole: ast.AST, loop: ast.AST) -> bool:
    """Say whether a name or attribute is bound to an empty list, and nowhere in the loop."""
    text, inner = unparsed(target), set(walk(loop))
    bound = [
        one
        for one in walk(whole)
        if isinstance(one, ast.Assign | ast.AnnAssign) and any(text in bound_names(each) for each in _bound_by(one))
    ]
    empty = (each for one in bound for each in (one.value.elts if isinstance(one.value, ast.Tuple) else [one.value]))
    return not inner & set(bound) and any(isinstance(one, ast.List) and not one.elts for one in empty)


def _is_made_each_turn(target: ast.expr, function: Body, loop: ast.AST) -> bool:
    """Say whether a list is made in a loop around, which is none of epochs: it holds the few graphs of one turn."""
    text = unparsed(target)
    for outer in own(function):
        if isinstance(outer, ast.For | ast.While) and outer is not loop and loop in walk(outer):
            epochs = isinstance(outer, ast.For) and "epoch" in unparsed(outer.target).lower()
            bound = (one for one in nodes_of(outer, ast.Assign))
            if not epochs and any(text in bound_names(each) for one in bound for each in one.targets):
                return True
    return False


def _bound_by(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _is_emptied(target: ast.expr, loop: ast.AST, backward: ast.AST) -> bool:
    """Say whether a list is cleared or shortened in a loop, or the graph is kept for another backward pass."""
    text = unparsed(target)
    if any(one.arg == "retain_graph" for one in getattr(backward, "keywords", ())):
        return True
    for one in walk(loop):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            if one.func.attr in ("clear", "pop", "popleft") and unparsed(one.func.value) == text:
                return True
        elif isinstance(one, ast.Delete) and any(text in unparsed(each) for each in one.targets):
            return True
    return False


def _in_steps_of_lightning(function: Def, owner: ast.ClassDef) -> Iterator[Kept]:
    """Yield what a `training_step` adds to an attribute and returns as the loss: the trainer goes back through it."""
    returned = [one for one in own(function) if isinstance(one, ast.Return) and one.value is not None]
    for one in returned:
        value = one.value
        if isinstance(value, ast.Dict):
            pairs = zip(value.keys, value.values, strict=True)
            value = next((v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "loss"), None)
        if not isinstance(value, ast.Name):
            continue
        body = own(function)
        for node in body:
            target = _sum_with(node, value.id)
            if not isinstance(target, ast.Attribute) or is_cut(body, value.id, _line(node) - 1, one.lineno):
                continue
            if _starts_as_number(target, function, owner, function):
                yield Kept(node, _summand(node, value.id), one)  # type: ignore[arg-type]


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def _of_one_turn(loop: ast.For | ast.While) -> Iterator[ast.AST]:
    """Yield what stands in a loop, but not in loops and functions in it, nor where gradients are off."""
    left: list[ast.AST] = list(loop.body)
    while left:
        one = left.pop()
        yield one
        off = isinstance(one, ast.With) and any(_OFF.search(unparsed(item.context_expr)) for item in one.items)
        if not off and not isinstance(one, ast.For | ast.While | ast.AsyncFor | ast.Lambda | ast.ClassDef | Def):
            left += children(one)


def _sum_with(node: ast.AST, name: str) -> ast.Name | ast.Attribute | None:
    """Return the sum to which a statement adds a loss as it is, or times a number."""
    target: ast.expr
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        target, added = node.target, node.value
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.value, ast.BinOp):
        target, sides = node.targets[0], (node.value.left, node.value.right)
        if not isinstance(node.value.op, ast.Add) or unparsed(target) not in map(unparsed, sides):
            return None
        added = sides[1] if unparsed(sides[0]) == unparsed(target) else sides[0]
    else:
        return None
    plain = isinstance(target, ast.Name) or (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name))
    fits = plain and unparsed(target) != name and _is_loss_with_graph(added, name)
    return target if fits else None  # type: ignore[return-value]


def _summand(node: ast.AST, name: str) -> ast.expr:
    value = node.value  # type: ignore[attr-defined]
    return next(one for one in nodes_of(value, ast.Name) if one.id == name)


def _is_loss_with_graph(node: ast.expr, name: str) -> bool:
    """Say whether an expression is the loss, or the loss times or divided by something."""
    while isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        left_has = any(isinstance(one, ast.Name) and one.id == name for one in walk(node.left))
        node = node.left if left_has else node.right if isinstance(node.op, ast.Mult) else node.left
    node = _stripped(node)
    return isinstance(node, ast.Name) and node.id == name


def _starts_as_number(
    target: ast.Name | ast.Attribute, function: Body, owner: ast.ClassDef | None, loop: ast.AST
) -> bool:
    """Say whether a sum begins as a number or fresh tensor outside of the loop, in the class for an attribute."""
    whole: ast.AST = function if isinstance(target, ast.Name) else owner or function
    text = unparsed(target)
    inner = set(walk(loop)) if loop is not function else set()
    return any(
        isinstance(one, ast.Assign)
        and one not in inner
        and any(text in bound_names(each) for each in one.targets)
        and _is_a_start(one.value)
        for one in walk(whole)
    )


def _is_a_start(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple):
        return all(_is_a_start(one) for one in node.elts)
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("to", "cuda"):
        node = node.func.value
    if isinstance(node, ast.Call) and last_name(node.func) in _FRESH:
        return not any(one.arg == "requires_grad" for one in node.keywords)
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def _is_bound_anew(target: ast.Name | ast.Attribute, function: Body, loop: ast.For | ast.While) -> bool:
    """Say whether a sum starts anew in each turn, is cut from its graph in the loop, or is what backward is for."""
    text = unparsed(target)
    for node in walk(function):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "backward":
            names = [one for one in walk(node) if isinstance(one, ast.Name | ast.Attribute)]
            if any(unparsed(one) == text for one in names):
                return True
    assigned = nodes_of(loop, ast.Assign)
    bound = [one for one in assigned if any(text in bound_names(each) for each in one.targets)]
    return any(
        not (isinstance(one.value, ast.Constant) and one not in loop.body) and not _adds_to(one.value, text)
        for one in bound
    )


def _adds_to(node: ast.expr, text: str) -> bool:
    return isinstance(node, ast.BinOp) and text in (unparsed(node.left), unparsed(node.right))


def _ends_soon(target: ast.Name | ast.Attribute, function: Body, loop: ast.For | ast.While) -> bool:
    """Say whether a sum begins anew every few turns, or is one of a few repeats within a turn over the data."""
    text = unparsed(target)
    begun = [one for one in nodes_of(loop, ast.Assign) if not _adds_to(one.value, text)]
    if any(text in bound_names(each) for one in begun for each in one.targets):
        return True
    around = [one for one in own(function) if isinstance(one, ast.For) and one is not loop and loop in walk(one)]
    return any("epoch" not in unparsed(one.target) and "range" not in unparsed(one.iter) for one in around)
