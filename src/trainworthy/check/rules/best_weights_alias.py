"""The best weights are an alias of the weights that go on training.

What it finds:
    `best = model.state_dict()` inside a training loop, kept in a variable and used after it; also in a new dict of the
    same tensors (`.copy()`, `copy.copy`, `dict(...)`, `{k: v.detach() for k, v in ...}`) or of the parameters, as a
    part of a record (`best = {"epoch": epoch, "weights": model.state_dict()}`) that is loaded after the loop, and in
    an attribute `best...` that a hook of a class sets and the class loads again. `best_model = model` likewise, and
    `best = x.detach()` of a tensor that an optimizer has.
    Also weights that are kept to be put back, while others are loaded or trained, and that are the model's own:
    `kept = model.state_dict()`, `model.load_state_dict(averaged)`, `model.load_state_dict(kept)`; and a list of
    `p.data` that is copied back into the parameters.

Why:
    `state_dict()` returns the live tensors; the next step changes them. The "best" model is the last one.

How sure:
    The value is kept over turns of the loop, the loop (or what it calls) trains, and the variable is read outside
    of the loop or in a later turn. Dicts that are saved in the same turn are not reported. What is put back goes into
    the module that it came from, and nothing changes the dict or gives the module other tensors; silent with FSDP,
    whose dicts are copies.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Store
from trainworthy.check.static.kept_weights import PARAMETERS, is_chosen, kept_in_records, live_source
from trainworthy.check.static.live_weights import put_back
from trainworthy.check.static.queries import body_of, optimizer_steps
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import StateDict

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
best, lowest = None, 1e9
for epoch in range(10):
    optimizer.zero_grad()
    loss = model(torch.rand(8, 4)).mean()
    loss.backward()
    optimizer.step()
    if loss < lowest:
        lowest = loss.item()
        best = model.state_dict()  # <- TW601
model.load_state_dict(best)
"""

GOOD = """\
import copy

import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
best, lowest = None, 1e9
for epoch in range(10):
    optimizer.zero_grad()
    loss = model(torch.rand(8, 4)).mean()
    loss.backward()
    optimizer.step()
    if loss < lowest:
        lowest = loss.item()
        best = copy.deepcopy(model.state_dict())
model.load_state_dict(best)
"""


@rule(code="TW601", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at state dicts that are kept in a variable within a loop."""
    seen: set[ast.AST] = set()
    for store in analysis.stores:
        if store.node in seen or not _is_live(analysis, store):
            continue
        if not store.context.all_loops():
            if _is_restored_by_class(store):
                seen.add(store.node)
                yield _hit(analysis, store, Evidence("they are loaded again in this class"))
            continue
        if not isinstance(store.target, ast.Name | ast.Attribute) or not _trains(analysis, store):
            continue
        if not _read_later(store):
            continue
        seen.add(store.node)
        yield _hit(analysis, store, Evidence("they are kept here, and read after the loop"))
    for store in _names_of_live_models(analysis):
        if store.node not in seen:
            seen.add(store.node)
            yield Hit(
                place=analysis.place(store.node, store.context),
                message="this is another name for what goes on training, not a copy of it",
                evidence=(Evidence("it is read after the loop"),),
                fix="Copy: `copy.deepcopy(model)` or its `state_dict()`; of a tensor, `detach().clone()`.",
            )
    for store, read in kept_in_records(analysis):
        if store.node not in seen:
            seen.add(store.node)
            where = Evidence("they are read here, after the loop", analysis.place(read, store.context))
            yield _hit(analysis, store, where)
    for kept, restored in put_back(analysis):
        if kept not in seen:
            seen.add(kept)
            yield Hit(
                place=analysis.place(kept),
                message="these are the live weights: putting them back changes nothing",
                evidence=(Evidence("they are put back here", analysis.place(restored)),),
                fix="Copy: `copy.deepcopy(model.state_dict())`, or `clone()` each tensor.",
            )


def _is_live(analysis: Analysis, store: Store) -> bool:
    """Say whether a dict of live weights is kept: as it is, or in a new dict where it is the best up to then."""
    if isinstance(store.value, StateDict):
        return True
    value = getattr(store.node, "value", None)
    if not isinstance(value, ast.DictComp | ast.ListComp | ast.Dict | ast.Call) or not is_chosen(store):
        return False
    source = live_source(analysis, value)
    if source is None or isinstance(store.target, ast.Subscript):
        return False
    return last_name(source.func) not in PARAMETERS or "best" in last_name(store.target).lower()


def _names_of_live_models(analysis: Analysis) -> Iterator[Store]:
    """Yield `best_model = model` in a loop that trains the model on, read after the loop."""
    for store in analysis.stores:
        if not isinstance(store.target, ast.Name) or "best" not in store.target.id.lower():
            continue
        value, loops = getattr(store.node, "value", None), store.context.loops
        parameter = _detached(value)
        if parameter is not None and loops and _is_optimised(body_of(store.context), parameter):
            value = parameter
        elif not isinstance(value, ast.Name | ast.Attribute) or not _MODEL.search(last_name(value)):
            continue
        given = unparsed(value)
        if not loops or store.target.id == given:
            continue
        made_in_loop = {unparsed(t) for n in nodes_of(loops[0], ast.Assign) for t in n.targets}
        if given in made_in_loop or not store.context.branches or not _trains(analysis, store):
            continue
        if _read_later(store):
            yield store


def _detached(value: ast.expr | None) -> ast.expr | None:
    """Return the tensor of which a value is another view, without its graph."""
    if isinstance(value, ast.Call) and getattr(value.func, "attr", "") == "detach":
        return value.func.value  # type: ignore[attr-defined, no-any-return]
    return value.value if isinstance(value, ast.Attribute) and value.attr == "data" else None


def _is_optimised(body: ast.AST, tensor: ast.expr) -> bool:
    """Say whether a tensor is given to an optimizer, `Adam([x], lr=0.1)`."""
    text = unparsed(tensor)
    return any(
        isinstance(one, ast.Call)
        and any(each.arg == "lr" for each in one.keywords)
        and any(isinstance(arg, ast.List) and text in map(unparsed, arg.elts) for arg in one.args)
        for one in walk(body)
    )


_MODEL = re.compile(r"(^|_)(model|net|network|generator|encoder|classifier|policy)$")


def _hit(analysis: Analysis, store: Store, why: Evidence) -> Hit:
    return Hit(
        place=analysis.place(store.node, store.context),
        message="`state_dict()` returns the live weights; training goes on changing them",
        evidence=(why,),
        fix="Copy: `copy.deepcopy(model.state_dict())`, or save to disk.",
    )


def _is_restored_by_class(store: Store) -> bool:
    """Say whether a hook keeps the best weights in an attribute, and a method of its class loads them again."""
    function, target = store.context.function, store.target
    if function is None or function.owner is None or not isinstance(target, ast.Attribute) or "best" not in target.attr:
        return False
    return function.name != "__init__" and any(
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "load_state_dict"
        and any(isinstance(one, ast.Attribute) and one.attr == target.attr for one in node.args)
        for node in walk(function.owner.node)
    )


def _trains(analysis: Analysis, store: Store) -> bool:
    loop = store.context.all_loops()[0]
    trains = (*optimizer_steps(analysis), *analysis.method_calls("backward"))
    return any(loop in call.context.all_loops() for call in trains)


def _read_later(store: Store) -> bool:
    """Say whether the variable is read after the outermost loop; an attribute, loaded from anywhere in the class."""
    name, body = unparsed(store.target), body_of(store.context)
    end = getattr(store.context.loops[0], "end_lineno", 0) or 0 if store.context.loops else None
    if end is not None and _first_use(body, name, end) == "read":
        return True
    function = store.context.function
    if function is None or function.owner is None or not isinstance(store.target, ast.Attribute):
        return False
    if _saved_at_once(store.target.value, store.node, function.node):
        return False
    if "best" in store.target.attr:  # kept to be read, by a subclass or whoever has the object
        return True
    return any(
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "load_state_dict"
        and any(_reads(argument, name) for argument in node.args)
        for node in walk(function.owner.node)
    )


def _first_use(body: ast.AST, name: str, line: int) -> str:
    """Say whether a variable is first read or first written below a line; "" if it is not there."""
    uses = [
        (node.lineno, "read" if isinstance(node.ctx, ast.Load) else "written")
        for node in walk(body)
        if isinstance(node, ast.Name | ast.Attribute) and node.lineno > line and unparsed(node) == name
    ]
    return min(uses)[1] if uses else ""  # `x = f(x)` reads it


def _saved_at_once(holder: ast.expr, store: ast.AST, function: ast.AST) -> bool:
    """Say whether what holds the weights is written to a file further down in the function."""
    text = unparsed(holder)
    for node in walk(function):
        if isinstance(node, ast.Call) and node.lineno > getattr(store, "lineno", 0):
            saves = getattr(node.func, "attr", "") == "save"
            if saves and text in (unparsed(one) for one in (node.func.value, *node.args)):  # type: ignore[attr-defined]
                return text != "self"
    return False


def _reads(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and unparsed(node) == name
