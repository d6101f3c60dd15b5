"""Dicts that hold the live weights of a model under new keys, and the parts of records that keep them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_scheduler
from trainworthy.check.static.facts import Call, LoopNode, Store
from trainworthy.check.static.queries import body_of, optimizer_steps
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import StateDict


def live_source(analysis: Analysis, node: ast.expr | None) -> ast.Call | None:
    """Return the `state_dict()`, or `parameters()`, whose tensors a dict or list holds as they are."""
    if isinstance(node, ast.Call):
        return _called_source(analysis, node)
    if isinstance(node, ast.Dict) and node.keys == [None]:  # {**weights}
        return live_source(analysis, node.values[0])
    if isinstance(node, ast.DictComp | ast.ListComp) and len(node.generators) == 1:
        each = node.generators[0]
        source = live_source(analysis, each.iter)
        made = node.value if isinstance(node, ast.DictComp) else node.elt
        return source if source is not None and _is_the_tensor(made, each) else None
    return None


def _called_source(analysis: Analysis, node: ast.Call) -> ast.Call | None:
    call = analysis.call_at.get(node)
    name = call.name if call is not None else ""
    method = last_name(node.func)
    if call is not None and isinstance(call.result, StateDict) and method == "state_dict":
        return node if isinstance(node.func, ast.Attribute) and not _holds_numbers(call, node.func.value) else None
    if method in PARAMETERS and isinstance(node.func, ast.Attribute) and not node.args:
        return node
    if name in ("copy.copy", "builtins.dict", "builtins.list", "collections.OrderedDict"):
        return live_source(analysis, node.args[0]) if len(node.args) == 1 and not node.keywords else None
    if method in ("copy", "items") and isinstance(node.func, ast.Attribute) and not node.args:
        return live_source(analysis, node.func.value)
    return None


_NUMBERS = re.compile(r"sched|scaler|sampler|loader|tokeni|meter|metric", re.IGNORECASE)


def _holds_numbers(call: Call, holder: ast.expr) -> bool:
    """Say whether a state dict is of a scheduler or the like: its numbers do not change later."""
    return is_scheduler(call.owner) or _NUMBERS.search(last_name(holder)) is not None


PARAMETERS = ("parameters", "named_parameters")


def _is_the_tensor(value: ast.expr, each: ast.comprehension) -> bool:
    """Say whether a comprehension's value is the loop's tensor itself, at most without its graph."""
    while True:
        if isinstance(value, ast.Call) and last_name(value.func) == "detach" and isinstance(value.func, ast.Attribute):
            value = value.func.value
        elif isinstance(value, ast.Attribute) and value.attr == "data":
            value = value.value
        else:
            break
    pair = each.target.elts if isinstance(each.target, ast.Tuple) else [each.target]
    return isinstance(value, ast.Name) and value.id == getattr(pair[-1], "id", "") and len(pair) <= 2


def is_chosen(store: Store) -> bool:
    """Say whether something is kept where a number is lower or higher than another, and the loop then goes on."""
    tests = [test for test, truth in store.context.branches if truth]
    compared = any(
        isinstance(op, ast.Lt | ast.Gt | ast.LtE | ast.GtE)
        for test in tests
        for one in nodes_of(test, ast.Compare)
        for op in one.ops
    )
    return compared and not any(isinstance(one, ast.Mod) for test in tests for one in _operators(test))


def _operators(test: ast.expr) -> Iterator[ast.operator]:
    return (one.op for one in nodes_of(test, ast.BinOp))


def kept_in_records(analysis: Analysis) -> Iterator[tuple[Store, ast.AST]]:
    """Yield `best = {"weights": model.state_dict()}` in a loop that trains on, and where it is loaded after it."""
    if "state_dict" not in analysis.source.words:
        return
    for store in analysis.stores:
        name, kept = _record(store), None
        if not name or not store.context.loops or not is_chosen(store):
            continue
        kept = next((one for part in _parts(store) if (one := live_source(analysis, part)) is not None), None)
        loop = _training_loop(analysis, store) if kept is not None else None
        if (
            kept is None
            or loop is None
            or last_name(kept.func) in PARAMETERS
            or _leaves(analysis, store)
            or _is_made_in(loop, kept)
        ):
            continue
        read = _loaded_after(body_of(store.context), name, loop)
        if read is not None:
            yield store, read


def _record(store: Store) -> str:
    """Name the variable that an assignment gives a record, or an entry of one; "" if it is another thing."""
    target = store.target
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        target = target.value
    return target.id if isinstance(target, ast.Name) else ""


def _parts(store: Store) -> Iterator[ast.expr]:
    """Yield what is put into a record: the values of a dict or tuple, or what its class is given."""
    value = getattr(store.node, "value", None)
    if isinstance(store.target, ast.Subscript) and isinstance(value, ast.expr):
        yield value
    elif isinstance(value, ast.Tuple | ast.List):
        yield from value.elts
    elif isinstance(value, ast.Dict) and None not in value.keys:
        yield from value.values
    elif isinstance(value, ast.Call) and (last_name(value.func)[:1].isupper() or last_name(value.func) == "dict"):
        yield from (*value.args, *(one.value for one in value.keywords))


def _training_loop(analysis: Analysis, store: Store) -> LoopNode | None:
    """Return the innermost loop around an assignment that trains."""
    trains: list[Call] = [*optimizer_steps(analysis), *analysis.method_calls("backward")]
    for loop in reversed(store.context.loops):
        if any(loop in call.context.all_loops() for call in trains):
            return loop
    return None


def _leaves(analysis: Analysis, store: Store) -> bool:
    """Say whether the block that keeps something also leaves the loop."""
    block = analysis.parents.get(store.node)
    return block is not None and any(isinstance(one, ast.Break | ast.Return | ast.Raise) for one in walk(block))


def _is_made_in(loop: LoopNode, kept: ast.Call) -> bool:
    """Say whether a loop makes the model anew whose weights are kept."""
    root: ast.AST = kept.func
    while isinstance(root, ast.Attribute | ast.Subscript | ast.Call):
        root = root.func if isinstance(root, ast.Call) else root.value
    name = getattr(root, "id", "")
    return any(one.id == name and isinstance(one.ctx, ast.Store) for one in nodes_of(loop, ast.Name))


def _loaded_after(body: ast.AST, name: str, loop: LoopNode) -> ast.AST | None:
    """Return where a part of a record is loaded or written after a loop; None if a turn of the loop writes it."""
    calls = [
        one
        for one in nodes_of(body, ast.Call)
        if last_name(one.func) in ("load_state_dict", "save")
        and any(each.id == name for arg in one.args for each in nodes_of(arg, ast.Name))
    ]
    inside = set(walk(loop))
    if any(one in inside for one in calls):
        return None
    end = getattr(loop, "end_lineno", 0) or 0
    return next((one for one in calls if one.lineno > end and not _is_whole(one, name)), None)


def _is_whole(call: ast.Call, name: str) -> bool:
    """Say whether a call is given the variable as it is, not a part of it."""
    return last_name(call.func) == "load_state_dict" and unparsed(call.args[0]) == name
