"""A loss, a mask, a weight or a target is computed and never used.

What it finds:
    `consistency_loss = F.mse_loss(a, b)`, `gate = self.gate(x).sigmoid()`, `causal_mask = torch.triu(...)`,
    `mask_batch = torch.cat(batch.mask)` or `advantages = (a - a.mean()) / a.std()` in a function that never reads it.
    Also `new = [flip(x) for x in images]` in a function that only goes on changing `new`, and returns `images`.

Why:
    What was meant to be learned from is left out of the sum, what was meant to be hidden is seen.

How sure:
    The name is read nowhere in the function, also not in functions within it or by `locals()`. Silent in tests, for
    values that are taken from something or only moved, and not computed, for truth values (`bias is not None`), for
    names that begin with an underscore, for what is handed, to be replaced by the result, to a function that may do
    more than compute, and for calls that compile, register or are given the name as a text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, function_around, functions_around
from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
import torch.nn.functional as F


def step(model, teacher, x, y):
    out = model(x)
    loss = F.cross_entropy(out, y)
    consistency_loss = F.mse_loss(out, teacher(x))  # <- TW894
    return loss
"""

GOOD = """\
import torch
import torch.nn.functional as F


def step(model, teacher, x, y):
    out = model(x)
    loss = F.cross_entropy(out, y)
    consistency_loss = F.mse_loss(out, teacher(x))
    return loss + consistency_loss
"""

_WATCHED = re.compile(
    r"(^|_)(loss|mask|penalty|advantages?|regulari[sz]ation|reg|rewards?|returns|weights?|targets?|labels?|noise|bias|"
    r"coef|coeff|scale|grads?|gradients?|sigma|temperature|ratio|weighted|normali[sz]ed|scaled|clipped|masked|dones?|"
    r"terminals?|terminated|not_dones?)(_(batch|tensor|t|b))?(_?\d)?$|"
    r"^(weighted|normali[sz]ed|scaled|clipped|masked)_"
)
_LAYER = re.compile(r"(torch\.)?nn\.(Lazy)?(Linear|Bilinear|Conv|Embedding|\w+Norm|LSTM|GRU|RNN|Multihead|Transformer)")
_COMPUTE = frozenset("min max abs sum round float int len list tuple sorted".split())
_EFFECTS = re.compile(r"save|log|print|record|update|track|check|write|plot|report|compare|keep")  # of methods
_TAKES = frozenset(
    "get pop item append load next size numel len state_dict getattr copy clone bool isinstance hasattr "
    "callable".split()
)
_MOVES = frozenset("to type type_as float double half long int bool cuda cpu detach contiguous".split())
_LOADS = re.compile(r"compile|register|exten[st]ion|load_(inline|helper|library|module)|import_module|CDLL|jit")
_TRUTHS = (ast.Is, ast.IsNot, ast.In, ast.NotIn)


@rule(code="TW894", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the names of functions."""
    if "torch" not in analysis.source.words or "/test" in analysis.source.path:
        return
    yield from _unreturned(analysis)
    assigned = [one for one in analysis.nodes.get(ast.Assign, []) if isinstance(one, ast.Assign)]
    called = {one: part for one in assigned if (part := _part_called(one))}
    layers = _layers(assigned, set(called.values())) if called else set()
    made = [one for one in assigned if _is_watched(one) or called.get(one) in layers]
    inside: set[ast.AST] = set()
    for node in functions_around(analysis.nodes, [one.lineno for one in made]) if made else ():
        if node in inside or node.name.startswith("test"):
            continue
        own = set(walk(node))
        inside |= own
        names = bindings_of(node)
        for statement in made:
            name = getattr(statement.targets[0], "id", "")
            if statement in own and _is_for_nothing(names, name):
                yield Hit(
                    place=analysis.source.place(statement),
                    message=f"`{name}` is computed, and nothing uses it",
                    fix="Use it where it belongs, or remove it.",
                )


def _unreturned(analysis: Analysis) -> Iterator[Hit]:
    """Yield what is made of an argument, one by one, and not returned, while the argument is."""
    for statement in analysis.nodes.get(ast.Assign, ()):
        made = statement.value if isinstance(statement, ast.Assign) else None
        over = made.generators[0].iter if isinstance(made, ast.ListComp) else None
        if not isinstance(over, ast.Name) or not isinstance(statement, ast.Assign):
            continue
        target, function = statement.targets[0], function_around(analysis.parents, statement)
        if not isinstance(target, ast.Name) or not isinstance(function, ast.FunctionDef):
            continue
        names = bindings_of(function)
        if over.id not in names.parameters or names.stores.get(over.id) or names.opaque:
            continue
        returned = {_text(one.value) for one in nodes_of(function, ast.Return)}
        if returned == {over.id} and _only_changes(function, names, target.id):
            yield Hit(
                place=analysis.source.place(statement),
                message=f"`{target.id}` is made of `{over.id}`, and `{over.id}` is returned as it was",
                fix=f"Return `{target.id}`.",
            )


def _text(node: ast.expr | None) -> str:
    return unparsed(node) if node is not None else ""


def _only_changes(function: ast.FunctionDef, names: Bindings, name: str) -> bool:
    """Say whether every use of a name is in a statement that stores into it, or measures it for a loop."""
    changes: set[ast.AST] = set()
    for one in walk(function):
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Subscript):
            if getattr(one.targets[0].value, "id", "") == name:
                changes |= set(walk(one))
        elif isinstance(one, ast.For):  # what goes through the elements may change them
            for call in walk(one.iter):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "len":
                    changes |= set(walk(call))
    return name not in names.declared and all(one in changes for one in names.reads.get(name, ()))


def _is_watched(statement: ast.Assign) -> bool:
    target, value = statement.targets[0], statement.value
    if not isinstance(target, ast.Name) or target.id.startswith("_") or not _WATCHED.search(target.id.lower()):
        return False
    if isinstance(value, ast.Call):
        effects = _LOADS.search(unparsed(value.func)) is not None or _is_given_text(value, target.id)
        return bool(value.args) and last_name(value.func) not in _TAKES and not effects and not _is_only_moved(value)
    if isinstance(value, ast.Compare):
        return not any(isinstance(one, _TRUTHS) for one in value.ops)
    return isinstance(value, ast.BinOp)


def _layers(assigned: list[ast.Assign], parts: set[str]) -> set[str]:
    """Return which attributes of ``parts`` hold a layer of torch with parameters, and nothing else.

    An activation may change its input in place: its result need not be read.
    """
    given: dict[str, set[bool]] = {}
    for one in assigned:
        for target in one.targets:
            if isinstance(target, ast.Attribute) and target.attr in parts:
                made = unparsed(one.value.func) if isinstance(one.value, ast.Call) else ""
                given.setdefault(target.attr, set()).add(_LAYER.match(made) is not None)
    return {name for name, are in given.items() if are == {True}}


def _part_called(statement: ast.Assign) -> str:
    """Return the attribute of self whose result a name is given, or what methods made of that; "" if it is another."""
    target, value = statement.targets[0], statement.value
    if len(statement.targets) > 1 or not isinstance(target, ast.Name) or target.id.startswith("_"):
        return ""
    while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        if getattr(value.func.value, "id", "") == "self":
            return value.func.attr if value.args else ""
        value = value.func.value
    return ""


def _is_given_text(call: ast.Call, name: str) -> bool:
    """Say whether a call is given a name as a text: what it makes is known by it elsewhere."""
    given = [*call.args, *[one.value for one in call.keywords]]
    return any(isinstance(one, ast.Constant) and one.value == name for one in given)


def _is_only_moved(value: ast.expr) -> bool:
    """Say whether a value is taken from something and brought to a device or type."""
    while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in _MOVES:
        value = value.func.value
    while isinstance(value, ast.Attribute | ast.Subscript):
        value = value.value
    return isinstance(value, ast.Name)


def _is_for_nothing(names: Bindings, name: str) -> bool:
    if names.is_used(name) or name in names.parameters or names.opaque:
        return False
    return not any(name == target and _is_handed_over(one.value, name) for one, target in names.plain_assignments())


def _is_handed_over(value: ast.expr, name: str) -> bool:
    """Say whether a value is made by a function that gets what the name held, and may print, save or compare it."""
    if not isinstance(value, ast.Call) or (isinstance(value.func, ast.Attribute) and is_usual_name(value.func)):
        return False
    called = last_name(value.func)
    if called in _COMPUTE or (isinstance(value.func, ast.Attribute) and not _EFFECTS.search(called)):
        return False
    given = [*value.args, *[one.value for one in value.keywords]]
    return any(isinstance(one, ast.Name) and one.id == name for each in given for one in walk(each))
