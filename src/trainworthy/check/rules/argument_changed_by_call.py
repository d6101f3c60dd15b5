"""A function changes its argument in place and returns it, and the caller goes on with both as if they were two.

What it finds:
    `masked, labels = mask_tokens(inputs)`, where `mask_tokens` writes into its argument and returns it, and `inputs`
    is used afterwards; also `batch["masked"] = mask(batch["inputs"])` of a batch that is used further. In real steps: a
    function of the project's writes into a tensor that it was given, and returns something else, as a loss that sets
    ignored labels to 0; then somebody else uses the tensor, or the function changes it again.

Why:
    Both names are one tensor: the original is masked, scaled or shifted, too, and whatever is computed from it is
    something else than the code says.

How sure:
    The function is the project's, or stands for all classes of one of its modules from which one is taken by name. It
    writes into the argument on every way and returns that same object, and the caller gives the result another name.
    Silent about functions whose name says so (`relu_`, `fill`, `update`), about a dict to which the function only adds
    an entry, and in tests. A hint, since the original may be meant to change. In real steps a warning: the write and
    the use were seen. Silent about arguments that are named as what keeps something (a cache, a state, a buffer).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, function_around, functions_of
from trainworthy.check.static.queries import called_function, is_a_test
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import nodes_of, own, unparsed, walk
from trainworthy.check.static.values import Function

BAD = """\
import torch


def mask_tokens(inputs, mask_id):
    labels = inputs.clone()
    chosen = torch.bernoulli(torch.full(labels.shape, 0.15)).bool()
    inputs[chosen] = mask_id  # <- TW576
    return inputs, labels


def collate(batch, mask_id):
    batch["masked"], batch["labels"] = mask_tokens(batch["ids"], mask_id)
    return batch
"""

GOOD = """\
import torch


def mask_tokens(inputs, mask_id):
    inputs = inputs.clone()
    labels = inputs.clone()
    chosen = torch.bernoulli(torch.full(labels.shape, 0.15)).bool()
    inputs[chosen] = mask_id
    return inputs, labels


def collate(batch, mask_id):
    batch["masked"], batch["labels"] = mask_tokens(batch["ids"], mask_id)
    return batch
"""

LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)


def smooth_loss(scores, labels, ignored=-1):
    inside = labels != ignored
    labels[~inside] = 0  # <- TW576
    return -(scores.log_softmax(1).gather(1, labels[:, None])[:, 0] * inside).sum() / inside.sum()


model, auxiliary = nn.Linear(4, 3), nn.Linear(4, 3)
optimizer = torch.optim.SGD([*model.parameters(), *auxiliary.parameters()], lr=0.1)
for step in range(4):
    x, y = torch.randn(8, 4), torch.randint(-1, 3, (8,))
    loss = smooth_loss(model(x), y) + nn.functional.cross_entropy(auxiliary(x), y, ignore_index=-1)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = LIVE_BAD.replace("labels[~inside] = 0  # <- TW576", "labels = labels.masked_fill(~inside, 0)")

_SAYS_SO = re.compile(r"_$|in_?place|^_?(set|update|fill|init|register|add|build|make|load|apply_|write|append|patch)")
_METHOD = re.compile(r"^[a-z]\w*[a-z0-9]_$")
_MAPPING = re.compile(r"\b(\w*[Dd]ict|\w*Mapping|BatchEncoding)\b")
_NO_CHANGE = frozenset({"requires_grad_", "retain_grad_", "share_memory_"})


class _Change(NamedTuple):
    """An argument that a function changes and returns: its place, its place in the result, and the statement."""

    argument: int
    result: int | None
    statement: ast.stmt


@rule(code="TW576", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls whose result is kept."""
    if not analysis.source.words & {"torch", "numpy"} or is_a_test(analysis.source):
        return
    known = {call.node: ran for call in analysis.all_calls if (ran := called_function(call)) is not None}
    here = _functions_here(analysis)
    changed: dict[ast.AST, _Change | None] = {}
    for one in analysis.nodes.get(ast.Assign, ()):
        call = one.value if isinstance(one, ast.Assign) else None
        if not isinstance(one, ast.Assign) or not isinstance(call, ast.Call):
            continue
        source, function = _called(analysis, call, known, here)
        if source is None or function is None or _SAYS_SO.search(function.name):
            continue
        if function not in changed:
            changed[function] = _changed_and_returned(function)
        change = changed[function]
        caller = function_around(analysis.parents, one) if change is not None else None
        if change is None or caller is None or caller is function:
            continue
        hits = list(_kept_apart(analysis, caller, one, (source, function), change))
        yield from hits
        if hits and source is analysis.source:  # which is said of the function, once
            changed[function] = None


def _functions_here(analysis: Analysis) -> dict[str, Def]:
    """Return the functions of a file that have their name alone."""
    named: dict[str, list[Def]] = {}
    for one in functions_of(analysis.nodes):
        named.setdefault(one.name, []).append(one)
    return {name: found[0] for name, found in named.items() if len(found) == 1}


def _called(
    analysis: Analysis, call: ast.Call, known: dict[ast.Call, Function], here: dict[str, Def]
) -> tuple[Source | None, Def | None]:
    """Return the function that a call runs, and its file."""
    found = known.get(call)
    if found is not None:
        return (found.source, found.node) if isinstance(found.node, Def) else (None, None)
    func = call.func
    own = isinstance(func, ast.Attribute) and getattr(func.value, "id", "") in ("self", "cls")
    name = func.id if isinstance(func, ast.Name) else func.attr if own and isinstance(func, ast.Attribute) else ""
    if own and name not in here:
        return _one_of_a_module(analysis, name)
    return analysis.source, here.get(name)


def _one_of_a_module(analysis: Analysis, attribute: str) -> tuple[Source | None, Def | None]:
    """Return a method that stands for those of all classes of a module, if all of them change what they return.

    An attribute may be made by name: ``self.head = getattr(heads, name)(...)``.
    """
    modules = {
        made.func.args[0].id
        for one in analysis.nodes.get(ast.Assign, ())
        if isinstance(one, ast.Assign) and getattr(one.targets[0], "attr", "") == attribute
        for made in [one.value]
        if isinstance(made, ast.Call)
        and isinstance(made.func, ast.Call)
        and getattr(made.func.func, "id", "") == "getattr"
        and isinstance(made.func.args[0], ast.Name)
    }
    for one in analysis.nodes.get(ast.ImportFrom, ()) if len(modules) == 1 else ():
        for name in one.names if isinstance(one, ast.ImportFrom) else ():
            if (name.asname or name.name) in modules and isinstance(one, ast.ImportFrom):
                full = f"{one.module}.{name.name}" if one.module else name.name
                source = analysis.project.find(full, importer=analysis.source.path, level=one.level)
                methods = _forwards(source) if source is not None else []
                if methods and all(_changed_and_returned(each) is not None for each in methods):
                    return source, methods[0]
    return None, None


def _forwards(source: Source) -> list[Def]:
    classes = [one for one in source.tree.body if isinstance(one, ast.ClassDef)]
    return [one for cls in classes for one in cls.body if isinstance(one, Def) and one.name == "forward"]


def _changed_and_returned(function: Def) -> _Change | None:
    """Return which argument a function changes in place, at which place of its result it stands, and where."""
    names = [one.arg for one in function.args.args]
    returns = [one for one in own(function) if isinstance(one, ast.Return)]
    if len(returns) != 1 or returns[0].value is None:
        return None
    value = returns[0].value
    parts = value.elts if isinstance(value, ast.Tuple) else [value]
    for at, name in enumerate(names):
        if name in ("self", "cls"):
            continue
        places = [number for number, part in enumerate(parts) if _is_or_changes(part, name)]
        if not places:
            continue
        change = _change(function, name) or (None if isinstance(parts[places[0]], ast.Name) else returns[0])
        in_place = {one.target for one in nodes_of(function, ast.AugAssign)}
        rebound = any(
            isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store) and one not in in_place
            for one in walk(function)
        )
        if change is not None and not rebound:
            return _Change(at, places[0] if isinstance(value, ast.Tuple) else None, change)
    return None


def _is_or_changes(node: ast.expr, name: str) -> bool:
    """Say whether an expression is a variable, perhaps through methods that change it."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _METHOD.match(node.func.attr):
        if node.func.attr in _NO_CHANGE:
            return False
        node = node.func.value
    return isinstance(node, ast.Name) and node.id == name


def _change(function: Def, name: str) -> ast.stmt | None:
    """Return the first statement right in a function that writes into a tensor or array."""
    for one in function.body:
        if isinstance(one, ast.Assign):
            for target in one.targets:
                if isinstance(target, ast.Subscript) and getattr(target.value, "id", "") == name:
                    return None if _is_entry(function, target, name) else one
        elif isinstance(one, ast.AugAssign):
            target = one.target
            if isinstance(target, ast.Subscript) and getattr(target.value, "id", "") == name:
                return one
        elif isinstance(one, ast.Expr) and isinstance(one.value, ast.Call):
            call: ast.expr = one.value
            while isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                if getattr(call.func.value, "id", "") == name and _METHOD.match(call.func.attr):
                    return None if call.func.attr in _NO_CHANGE else one
                call = call.func.value
    return None


def _is_entry(function: Def, target: ast.Subscript, name: str) -> bool:
    """Say whether what is written is an entry of a dict, which the function does not read."""
    if _is_word(target.slice):
        return True
    annotation = next((one.annotation for one in function.args.args if one.arg == name), None)
    parts = [
        one for one in walk(function)
        if isinstance(one, ast.Subscript | ast.Attribute) and getattr(one.value, "id", "") == name
    ]  # fmt: skip
    is_dict = any(
        _is_word(one.slice) if isinstance(one, ast.Subscript) else one.attr in ("items", "keys", "values", "setdefault")
        for one in parts
    )
    if not is_dict and (annotation is None or not _MAPPING.search(unparsed(annotation))):
        return False
    return all(one is target or unparsed(one) != unparsed(target) for one in parts)


def _is_word(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _kept_apart(
    analysis: Analysis, caller: Def, statement: ast.Assign, called: tuple[Source, Def], change: _Change
) -> Iterator[Hit]:
    call, (source, function) = statement.value, called
    if not isinstance(call, ast.Call):
        return
    name = function.args.args[change.argument].arg
    at = change.argument - (function.args.args[0].arg in ("self", "cls"))
    given = next((one.value for one in call.keywords if one.arg == name), None)
    if given is None and 0 <= at < len(call.args):
        given = call.args[at]
    target = statement.targets[0]
    if change.result is not None:
        if not isinstance(target, ast.Tuple) or change.result >= len(target.elts):
            return
        target = target.elts[change.result]
    if (
        given is None
        or isinstance(target, ast.Starred)
        or getattr(target, "id", "") == "_"
        or unparsed(target) == unparsed(given)
    ):
        return
    if _used_later(analysis, caller, statement, given):
        both = f"`{unparsed(target)}` and `{unparsed(given)}`"
        own = source is analysis.source
        here = change.statement if own else statement
        why = ("it is called here", analysis.place(statement))
        if not own:
            why = ("it is changed here", source.place(change.statement))
        yield Hit(
            place=analysis.place(here),
            message=f"{both} are one object, which `{function.name}` changes",
            evidence=(Evidence(*why),),
            fix=f"Clone `{name}` first.",
        )


def _used_later(analysis: Analysis, caller: Def, statement: ast.Assign, given: ast.expr) -> bool:
    """Say whether what was handed in, or the dict it is in, is used after a statement."""
    root = given
    if isinstance(root, ast.Subscript) and isinstance(root.slice, ast.Constant) and isinstance(root.slice.value, str):
        root = root.value
    if not isinstance(root, ast.Name):
        return False
    later = [
        one for one in nodes_of(caller, ast.Name) if one.id == root.id and one.lineno > (statement.end_lineno or 0)
    ]
    later.sort(key=lambda one: (one.lineno, one.col_offset))
    if later and _is_bound_anew(analysis, later[0], statement):
        return False
    return any(isinstance(one.ctx, ast.Load) for one in later)


def _is_bound_anew(analysis: Analysis, name: ast.Name, statement: ast.Assign) -> bool:
    """Say whether a name stands for something else from there on, in the block of a statement."""
    above = analysis.parents.get(name)
    above = analysis.parents.get(above) if isinstance(above, ast.Tuple) else above
    if not isinstance(above, ast.Assign) or not isinstance(name.ctx, ast.Store):
        return False
    made_of_it = any(isinstance(one, ast.Name) and one.id == name.id for one in walk(above.value))
    return not made_of_it and analysis.parents.get(above) is analysis.parents.get(statement)


@rule(code="TW576", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield arguments that were changed and used."""
    for fact in facts.changed_arguments:
        what = "changes it once more when it is called again" if fact.again else "returns something else"
        yield Hit(
            place=fact.place,
            message=f"`{fact.function}` changes its argument `{fact.argument}` in place, and {what}: the caller's "
            "tensor has other values now",
            evidence=() if fact.again else (Evidence("it is used here afterwards", fact.used),),
            fix=f"{fact.argument} = {fact.argument}.clone() first.",
        )
