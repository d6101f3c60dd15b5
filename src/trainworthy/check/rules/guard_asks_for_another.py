"""A branch asks whether one thing is there, and uses another.

What it finds:
    Two neighbouring `if`s that ask the same of two things (`hasattr(self.a, "f")` and `hasattr(self.b, "f")`, `x is not
    None`, `exists(x)`), where the body of one never touches its own and uses the other's; two that do the same
    with two values, one if it is there (`a != -1`), the other if it is not (`b == -1`); and `if length_:` or `elif
    new_length > 0:` whose body cuts or counts by `length`, the parameter that the other one was made of.

Why:
    A copied branch of which one name was left: the thing that was asked for is ignored, and the other may not be there.

How sure:
    Both conditions are about being there, not about a value, and the other one is used before anything sets it.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, function_around
from trainworthy.check.static.tree import children, nodes_of, unparsed, walk
from trainworthy.check.static.words import says_changed, words_of

BAD = """\
import torch


def schedulers(optimizer, decay_steps=None, warmup_steps=None):
    found = []
    if decay_steps is not None:
        found.append(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=warmup_steps))  # <- TW811
    if warmup_steps is not None:
        found.append(torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=warmup_steps))
    return found
"""

GOOD = """\
import torch


def schedulers(optimizer, decay_steps=None, warmup_steps=None):
    found = []
    if decay_steps is not None:
        found.append(torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=decay_steps))
    if warmup_steps is not None:
        found.append(torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=warmup_steps))
    return found
"""


@rule(code="TW811", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at neighbouring branches."""
    yield from _turned_round(analysis)
    yield from _before_it_was_changed(analysis)
    asked_here = [
        one for one in analysis.nodes.get(ast.If, []) if isinstance(one, ast.If) and _asked(one.test) is not None
    ]
    if len(asked_here) < 2:
        return
    for body in _bodies(analysis):
        asking = [
            (one, asked)
            for one in body
            if isinstance(one, ast.If) and not one.orelse and (asked := _asked(one.test)) is not None
        ]
        for (first, asks_first), (second, asks_second) in itertools.pairwise(asking):
            for branch, own, other in ((first, asks_first, asks_second), (second, asks_second, asks_first)):
                use = _uses_the_other(branch, own, other)
                if use is not None:
                    yield Hit(
                        place=analysis.source.place(use),
                        message=f"the branch asks for `{own[1]}` and uses `{other[1]}`",
                        evidence=(Evidence("the condition", analysis.source.place(branch.test)),),
                        fix=f"Use `{own[1]}` here.",
                    )


def _bodies(analysis: Analysis) -> Iterator[list[ast.stmt]]:
    for kind, nodes in analysis.nodes.items():
        for name in ("body", "orelse", "finalbody"):
            for node in nodes if name in kind._fields else ():
                body = getattr(node, name)
                if isinstance(body, list) and len(body) > 1:
                    yield body


def _asked(test: ast.expr) -> tuple[str, str] | None:
    """Return how a condition asks whether something is there, and what it asks for."""
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.IsNot) and len(test.ops) == 1:
        right = test.comparators[0]
        if isinstance(right, ast.Constant) and right.value is None and _is_a_name(test.left):
            return "is not None", unparsed(test.left)
    if isinstance(test, ast.Call) and test.args and not test.keywords and _is_a_name(test.args[0]):
        rest = ", ".join(unparsed(one) for one in test.args[1:])
        if last_name(test.func) == "hasattr" or (last_name(test.func) == "exists" and len(test.args) == 1):
            return f"{last_name(test.func)}({rest})", unparsed(test.args[0])
    return None


def _is_a_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) or (isinstance(node, ast.Attribute) and _is_a_name(node.value))


def _uses_the_other(branch: ast.If, own: tuple[str, str], other: tuple[str, str]) -> ast.AST | None:
    """Return where a branch uses what the other one asks for; None if it touches its own, or sets the other's."""
    if own[0] != other[0] or own[1] == other[1]:
        return None
    use = None
    for statement in branch.body:
        if isinstance(statement, ast.Assert):  # that the other one is there, too
            return None
        for node in walk(statement):
            if not isinstance(node, ast.Name | ast.Attribute):
                continue
            text = unparsed(node)
            if text == own[1] or (text == other[1] and not isinstance(node.ctx, ast.Load)):
                return None
            if text == other[1]:
                use = use or node
    return use if use is not None and _fits(branch, use, own[0]) else None


def _fits(branch: ast.If, use: ast.AST, kind: str) -> bool:
    """Say whether what was asked for is what is used: the same method of another object, or a whole argument."""
    parents = {child: node for node in walk(branch) for child in children(node)}
    parent = parents.get(use)
    if kind.startswith("hasattr"):
        return isinstance(parent, ast.Attribute) and repr(parent.attr) in kind
    return isinstance(parent, ast.keyword | ast.Call)


def _turned_round(analysis: Analysis) -> Iterator[Hit]:
    """Yield the branch that uses a value if it is the sign that there is none, beside one that does it right."""
    compared = [one for one in analysis.nodes.get(ast.If, []) if isinstance(one, ast.If) and _sign(one) is not None]
    if len(compared) < 2:
        return
    for body in _bodies(analysis):
        for first, second in itertools.pairwise(body):
            if not isinstance(first, ast.If) or not isinstance(second, ast.If):
                continue
            signs = _sign(first), _sign(second)
            if signs[0] is None or signs[1] is None or signs[0][1:] != signs[1][1:] or signs[0][0] == signs[1][0]:
                continue
            texts = [_with_a_blank(one) for one in (first, second)]
            wrong = first if isinstance(getattr(first.test, "ops", [None])[0], ast.Eq | ast.Is) else second
            right = second if wrong is first else first
            if "" not in texts and texts[0] == texts[1] and first.test is not second.test:
                yield Hit(
                    place=analysis.source.place(wrong.test),
                    message=f"`{unparsed(wrong.test)}` lets only the sign for nothing through; the next to it is "
                    f"`{unparsed(right.test)}`",
                    evidence=(Evidence("the other branch", analysis.source.place(right.test)),),
                    fix="Turn the comparison round.",
                )


def _sign(branch: ast.If) -> tuple[bool, str] | None:
    """Return whether a branch wants a value to be equal to a sign, and which sign: None, -1 or a text."""
    test = branch.test
    if branch.orelse or not isinstance(test, ast.Compare) or len(test.ops) > 1 or not isinstance(test.left, ast.Name):
        return None
    sign = unparsed(test.comparators[0])
    if sign not in ("None", "-1", "''") or not isinstance(test.ops[0], ast.Eq | ast.NotEq | ast.Is | ast.IsNot):
        return None
    return isinstance(test.ops[0], ast.Eq | ast.Is), sign


def _with_a_blank(branch: ast.If) -> str:
    """Return what a branch does, with a blank for what it asks for; nothing if it does not read that in a call."""
    name = getattr(getattr(branch.test, "left", None), "id", "")
    calls = [one for statement in branch.body for one in nodes_of(statement, ast.Call)]
    if not any(isinstance(given, ast.Name) and given.id == name for call in calls for given in call.args):
        return ""
    return re.sub(rf"\b{re.escape(name)}\b", "_", "; ".join(unparsed(one) for one in branch.body))


def _before_it_was_changed(analysis: Analysis) -> Iterator[Hit]:
    """Yield branches that ask for a number made of a parameter, and compute with the parameter alone."""
    tests = [(one, name) for one in analysis.nodes.get(ast.If, [])
             if isinstance(one, ast.If) and (name := _number_asked_for(one.test))]  # fmt: skip
    tests = [(one, name) for one, name in tests if name.endswith("_") or len(words_of(name)) > 1]
    for branch, name in tests:
        function = function_around(analysis.parents, branch)
        names = bindings_of(function) if function is not None else None
        if names is None or name in names.parameters or name not in names.stores:
            continue
        for first in (one for one in names.parameters if name == f"{one}_" or says_changed(name, one)):
            use = _computes_with(branch, first, name)
            if use is not None and first not in names.stores and _is_made_of(names, name, first):
                yield Hit(
                    place=analysis.source.place(use),
                    message=f"the branch asks for `{name}` and uses `{first}`, of which that was made",
                    evidence=(Evidence("the condition", analysis.source.place(branch.test)),),
                    fix=f"Use `{name}` here.",
                )


def _number_asked_for(test: ast.expr) -> str:
    """Return the name of which a condition asks whether it is a number above or other than one."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.comparators[0], ast.Constant):
        number = type(test.comparators[0].value) in (int, float)
        return test.left.id if number and isinstance(test.left, ast.Name) else ""
    return test.id if isinstance(test, ast.Name) else ""


def _computes_with(branch: ast.If, first: str, name: str) -> ast.Name | None:
    """Return where a branch computes or cuts with one name, if it never reads the other."""
    nodes = [one for statement in branch.body for one in walk(statement)]
    if any(isinstance(one, ast.Name) and one.id == name for one in nodes):
        return None
    inside = [each for one in nodes if isinstance(one, ast.Slice | ast.BinOp) for each in walk(one)]
    return next((one for one in inside if isinstance(one, ast.Name) and one.id == first), None)


def _is_made_of(names: Bindings, name: str, first: str) -> bool:
    """Say whether every statement that binds a name makes it of another."""
    made = [one for one in nodes_of(names.function, ast.Assign) if _binds(one, name)]
    used = [any(isinstance(part, ast.Name) and part.id == first for part in walk(one.value)) for one in made]
    return len(made) == len(names.stores[name]) and bool(used) and all(used)


def _binds(statement: ast.Assign, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for each in statement.targets for part in walk(each))
