"""A loss, a mask, a weight or a target is computed and never used.

What it finds:
    `consistency_loss = F.mse_loss(a, b)`, `causal_mask = torch.triu(...)` or `advantages = (a - a.mean()) / a.std()`
    in a function that never reads it.

Why:
    What was meant to be learned from is left out of the sum, what was meant to be hidden is seen.

How sure:
    The name is read nowhere in the function, also not in functions within it or by `locals()`. Silent in tests, for
    values that are taken from something and not computed, for names that begin with an underscore, and for what is
    handed, to be replaced by the result, to a function that may do more than compute.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, functions_around
from trainworthy.check.static.tree import walk

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
    r"coef|coeff|scale|grads?|gradients?|sigma|temperature|ratio|weighted|normali[sz]ed|scaled|clipped|masked)(_?\d)?$|"
    r"^(weighted|normali[sz]ed|scaled|clipped|masked)_"
)
_LIBRARIES = ("torch.", "np.", "numpy.", "F.", "math.", "nn.functional.")
_COMPUTE = frozenset("min max abs sum round float int len list tuple sorted".split())
_EFFECTS = re.compile(r"save|log|print|record|update|track|check|write|plot|report|compare|keep")  # of methods
_TAKES = frozenset("get pop item append load next size numel len state_dict getattr copy clone".split())


@rule(code="TW894", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the names of functions."""
    if "torch" not in analysis.source.words or "/test" in analysis.source.path:
        return
    made = [one for one in analysis.nodes.get(ast.Assign, []) if isinstance(one, ast.Assign) and _is_watched(one)]
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


def _is_watched(statement: ast.Assign) -> bool:
    target, value = statement.targets[0], statement.value
    if not isinstance(target, ast.Name) or target.id.startswith("_") or not _WATCHED.search(target.id.lower()):
        return False
    if isinstance(value, ast.Call):
        return bool(value.args) and getattr(value.func, "attr", getattr(value.func, "id", "")) not in _TAKES
    return isinstance(value, ast.BinOp | ast.Compare)


def _is_for_nothing(names: Bindings, name: str) -> bool:
    if names.is_used(name) or name in names.parameters or names.opaque:
        return False
    return not any(name == target and _is_handed_over(one.value, name) for one, target in names.plain_assignments())


def _is_handed_over(value: ast.expr, name: str) -> bool:
    """Say whether a value is made by a function that gets what the name held, and may print, save or compare it."""
    if not isinstance(value, ast.Call) or ast.unparse(value.func).startswith(_LIBRARIES):
        return False
    called = last_name(value.func)
    if called in _COMPUTE or (isinstance(value.func, ast.Attribute) and not _EFFECTS.search(called)):
        return False
    given = [*value.args, *[one.value for one in value.keywords]]
    return any(isinstance(one, ast.Name) and one.id == name for each in given for one in walk(each))
