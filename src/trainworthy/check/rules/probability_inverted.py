"""A random change is made with probability 1 - p.

What it finds:
    `if random() < p: return image` before the change, and `if random() > p: image = flip(image)`.

Why:
    With p = 0.5 nobody sees it; with p = 0 every sample is changed, with p = 0.9 one in ten.

How sure:
    The number is called a probability of the change, an argument or attribute, and the branch that its draw guards
    leaves the sample alone (or, the other way round, alone changes it). Silent where the name says that it is the
    probability to drop, skip or keep something.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of
from trainworthy.check.static.tree import unparsed

BAD = """\
import random

import torch


def random_flip(image, prob):
    if prob > random.random():  # <- TW528
        return image
    return torch.flip(image, dims=(3,))
"""

GOOD = """\
import random

import torch


def random_flip(image, prob):
    if prob < random.random():
        return image
    return torch.flip(image, dims=(3,))
"""

_DRAWS = frozenset({"random", "rand", "uniform"})
_PROBABILITY = re.compile(r"^p$|(?:^|_)(?:prob|probability|proba)$|^p_[a-z]+$|^prob_[a-z]+$", re.IGNORECASE)
_OTHERWISE = re.compile(r"keep|drop|skip|no_|not|null|uncond|surviv|stop|mask|without|accept|teacher|replace|orig|same")


@rule(code="TW528", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at draws that are compared with a probability."""
    if not analysis.source.words & _DRAWS:
        return
    for node in analysis.nodes.get(ast.If, ()):
        if not isinstance(node, ast.If) or not isinstance(node.test, ast.Compare):
            continue
        below = _is_drawn_below(node.test, scope_of(node, analysis.parents))
        if below is None:
            continue
        name, happens = below
        alone = _leaves_alone(node.body, scope_of(node, analysis.parents))
        changed = not happens and not node.orelse and _changes(node.body, name)
        if (happens and alone and _goes_on(node, analysis.parents)) or changed:
            yield Hit(
                place=analysis.place(node.test),
                message=f"the change is made with probability 1 - {name}",
                fix="Turn the comparison around.",
            )


def _is_drawn_below(test: ast.Compare, scope: ast.AST) -> tuple[str, bool] | None:
    """Return a probability's name, and whether the test is true with that probability; None if it is none."""
    if len(test.ops) != 1 or not isinstance(test.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
        return None
    sides = [test.left, test.comparators[0]]
    less = isinstance(test.ops[0], ast.Lt | ast.LtE)
    if _probability(sides[0]):
        sides.reverse()
        less = not less
    name = _probability(sides[1])
    return (name, less) if name and _is_a_draw(followed(sides[0], scope)) else None


def _probability(node: ast.expr) -> str:
    """Return the name of a probability: an argument or attribute that is called one."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name if _PROBABILITY.search(name) and not _OTHERWISE.search(name.lower()) else ""


def _is_a_draw(node: ast.expr) -> bool:
    """Say whether an expression is one draw from 0 to 1."""
    if isinstance(node, ast.Call) and called(node) == "item" and isinstance(node.func, ast.Attribute):
        node = node.func.value
    if not isinstance(node, ast.Call) or called(node) not in _DRAWS:
        return False
    numbers = [one.value if isinstance(one, ast.Constant) else None for one in node.args]
    return numbers == [0, 1] if called(node) == "uniform" else numbers in ([], [1])


def _leaves_alone(body: list[ast.stmt], scope: ast.AST) -> bool:
    """Say whether a branch gives back an argument as it is."""
    if len(body) != 1 or not isinstance(body[0], ast.Return) or body[0].value is None:
        return False
    if not isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    arguments = {one.arg for one in (*scope.args.posonlyargs, *scope.args.args)} - {"self"}
    value = body[0].value
    given = value.elts if isinstance(value, ast.Tuple) else [value]
    return all(isinstance(one, ast.Name) and one.id in arguments for one in given)


def _goes_on(node: ast.If, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether what follows gives back something else."""
    around = parents.get(node)
    after = getattr(around, "body", [])
    rest = after[after.index(node) + 1 :] if node in after else []
    ends = [one for one in [*rest, *node.orelse] if isinstance(one, ast.Return) and one.value is not None]
    return any(not isinstance(one.value, ast.Name | ast.Tuple) for one in ends) or (len(rest) > 1 and bool(ends))


def _changes(body: list[ast.stmt], name: str) -> bool:
    """Say whether a branch does nothing but change a sample: `x = f(x)`."""
    for one in body:
        if not isinstance(one, ast.Assign) or len(one.targets) != 1 or not isinstance(one.targets[0], ast.Name):
            return False
        call = one.value
        given = [unparsed(each) for each in [*call.args, call.func]] if isinstance(call, ast.Call) else []
        if not any(each == one.targets[0].id or each.startswith(f"{one.targets[0].id}.") for each in given):
            return False
    return bool(body) and bool(name)
