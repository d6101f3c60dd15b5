"""A generator of parameters is used twice.

What it finds:
    `ps = model.parameters()`, after which `ps` goes into an optimizer and again into clipping, a loop or another call;
    also what `filter`, `chain` or a generator expression makes of it, a loop whose turns all take `ps`, a function
    of the file that `ps` is handed to, and `self.ps`, which one method makes and uses up and another takes again.

Why:
    `parameters()` is a generator. The second user gets nothing: nothing is clipped, frozen or counted.

How sure:
    Both uses take the same variable in the same function, without an assignment in between, and no branch keeps them
    apart; or an attribute that one statement of the file sets. Silent if a class of the project returns a list from
    its `parameters`, unless the model is known.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Bindings, bindings_of, function_around, functions_of
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.facts import Call, Context
from trainworthy.check.static.generators import (
    follows,
    is_clipping,
    is_generator,
    loop_around,
    takes_all,
    uses_up,
)
from trainworthy.check.static.queries import CLIPPERS, may_both_run
from trainworthy.check.static.tree import nodes_of, unparsed
from trainworthy.check.static.values import Parameters

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
ps = model.parameters()
optimizer = torch.optim.SGD(ps, lr=0.1)
model(torch.rand(8, 4)).mean().backward()
torch.nn.utils.clip_grad_norm_(ps, 1.0)  # <- TW305
optimizer.step()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
ps = list(model.parameters())
optimizer = torch.optim.SGD(ps, lr=0.1)
model(torch.rand(8, 4)).mean().backward()
torch.nn.utils.clip_grad_norm_(ps, 1.0)
optimizer.step()
"""


@rule(code="TW305", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at generators that two calls take, and at such that a name of a function holds."""
    if not analysis.mentions("parameters", "named_parameters"):
        return
    seen: set[ast.AST] = set()
    for later, context, first, before in _of_known_models(analysis):
        seen.add(_taken(later))
        yield Hit(
            place=analysis.place(later, context),
            message="the generator of parameters was used up before, so this gets none",
            evidence=(Evidence("used up here", analysis.place(first, before)),),
            fix="Make it a list: `list(model.parameters())`.",
        )
    for read, first, what in (*_by_name(analysis), *_by_attribute(analysis)):
        if read not in seen and not _returns_a_list(analysis.source.path, analysis.source.text):
            yield Hit(
                place=analysis.place(read),
                message=f"`{unparsed(read)}` is a generator of parameters: {what} gets none",
                evidence=(Evidence("used up here", analysis.place(first)),),
                fix="Make it a list: `list(model.parameters())`.",
            )


def _of_known_models(analysis: Analysis) -> Iterator[tuple[ast.AST, Context, ast.AST, Context]]:
    """Yield what takes the parameters of a known model a second time, and what took them first."""
    takers: dict[int, list[tuple[int, ast.AST, Context]]] = {}
    for call in analysis.all_calls:
        if _uses_up(call):
            value = call.args[0]
            assert isinstance(value, Parameters)
            takers.setdefault(id(value.call), []).append((call.at, call.node, call.context))
    for loop in analysis.iterations:
        if isinstance(loop.iterable, Parameters) and isinstance(loop.node.iter, ast.Name):
            takers.setdefault(id(loop.iterable.call), []).append((loop.at, loop.node.iter, loop.context))
    for uses in takers.values():
        _, first, before = min(uses, key=lambda one: one[0])
        for _, later, context in uses:
            same = context.callers == before.callers and may_both_run(before, context)
            if same and later is not first and _name(later) == _name(first):
                yield later, context, first, before


_BEFORE = "it was used up before, and this"
_IN_TURNS = "the first turn of the loop uses it up, and every later one"
_IN_CALLS = "the first call uses it up, and every later one"
_Found = tuple[ast.Name | ast.Attribute, ast.AST, str]


def _is_about_parameters(analysis: Analysis) -> bool:
    words = analysis.source.words
    return bool(words & {"parameters", "named_parameters"}) and "torch" in words


def _by_name(analysis: Analysis) -> Iterator[_Found]:
    """Yield where a name gives a generator of parameters that nothing is left of, once for each name."""
    if not _is_about_parameters(analysis):
        return
    for function in (*functions_of(analysis.nodes), analysis.source.tree):
        names = bindings_of(function)
        around = None if isinstance(function, ast.Module) else function
        for statement, name, value in names.given:
            made = isinstance(value, ast.Call | ast.GeneratorExp) and is_generator(value, names)
            if made and function_around(analysis.parents, statement) is around:
                found = _used_again(analysis, around, names, name, (statement, value))
                if found is not None:
                    yield found


def _used_again(
    analysis: Analysis, function: ast.AST | None, names: Bindings, name: str, made: tuple[ast.Assign, ast.expr]
) -> _Found | None:
    parents = analysis.parents
    reads = [
        one
        for one in names.reads[name]
        if names.value_before(one) is made[1]
        and function_around(parents, one) is function
        and _is_used_up(one, analysis)
    ]
    for at, later in enumerate(reads):
        first = next((one for one in reads[:at] if follows(one, later, parents)), None)
        if first is not None:
            return later, first, _BEFORE
    if len(names.stores[name]) == 1 and name not in names.parameters:
        turned = next((one for one in reads if loop_around(one, parents, made[0]) is not None), None)
        return None if turned is None else (turned, turned, _IN_TURNS)
    return None


def _is_used_up(read: ast.expr, analysis: Analysis) -> bool:
    """Say whether nothing is left of a generator after it is read: a call takes it, or a function of the file does."""
    parent = analysis.parents.get(read)
    if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and read in parent.args:
        named = [one for one in functions_of(analysis.nodes) if one.name == parent.func.id]
        plain = len(named) == 1 and isinstance(named[0], ast.FunctionDef) and not named[0].decorator_list
        if plain and isinstance(named[0], ast.FunctionDef):
            return takes_all(named[0], parent.args.index(read), analysis.parents)
    return uses_up(read, analysis.parents) is not None


def _by_attribute(analysis: Analysis) -> Iterator[_Found]:
    """Yield where an attribute that a method sets gives a generator of which nothing is left, once for each."""
    if not _is_about_parameters(analysis):
        return
    for cls in analysis.nodes.get(ast.ClassDef, ()):
        for method in getattr(cls, "body", ()):
            for statement in nodes_of(method, ast.Assign) if isinstance(method, ast.FunctionDef) else ():
                names = bindings_of(method)
                if is_generator(statement.value, names):
                    for target in statement.targets:
                        if isinstance(target, ast.Attribute) and unparsed(target.value) == "self":
                            yield from _taken_again(analysis, cls, method, statement, target.attr)


def _taken_again(
    analysis: Analysis, cls: ast.AST, method: ast.FunctionDef, made: ast.Assign, name: str
) -> Iterator[_Found]:
    """Yield where `self.name` is used up again: later in the method that makes it, or in another."""
    every = [one for one in analysis.nodes[ast.Attribute] if isinstance(one, ast.Attribute) and one.attr == name]
    if len([one for one in every if isinstance(one.ctx, ast.Store | ast.Del)]) != 1:
        return
    parents = analysis.parents
    own = [one for one in nodes_of(cls, ast.Attribute) if one.attr == name and unparsed(one.value) == "self"]
    reads = [one for one in own if isinstance(one.ctx, ast.Load) and _is_used_up(one, analysis)]
    here: list[ast.expr] = [one for one in reads if function_around(parents, one) is method]
    here += [one for one in _by_its_other_name(made, method) if _is_used_up(one, analysis)]
    here = sorted((one for one in here if follows(made, one, parents)), key=lambda one: (one.lineno, one.col_offset))
    elsewhere = [one for one in reads if function_around(parents, one) is not method]
    for at, later in enumerate(here):
        if isinstance(later, ast.Name | ast.Attribute) and any(follows(one, later, parents) for one in here[:at]):
            yield later, here[0], _BEFORE
            return
    if elsewhere and here:
        yield elsewhere[0], here[0], _BEFORE
    elif elsewhere and method.name == "__init__":
        again = next((one for one in elsewhere if is_clipping(uses_up(one, parents))), None)
        if again is not None:
            yield again, again, _IN_CALLS


def _by_its_other_name(made: ast.Assign, method: ast.FunctionDef) -> Iterator[ast.Name]:
    """Yield where a method reads, below an assignment, the variable that holds the same generator."""
    same = [made.value, *made.targets]
    names = bindings_of(method)
    for name in {one.id for one in same if isinstance(one, ast.Name)}:
        if len(names.stores[name]) == 1:
            yield from (one for one in names.reads[name] if one is not made.value)


_PARAMETERS = re.compile(r"def (?:named_)?parameters\((.*?)(?=\n[ \t]*(?:def|class|@)|\n\S|\Z)", re.DOTALL)


def _returns_a_list(path: str, text: str) -> bool:
    """Say whether a class of the project has a method of that name which is no generator."""
    for one in (text, *map(text_of, project_files(path) or ())):
        for found in _PARAMETERS.findall(one) if "parameters(" in one else ():
            if "yield" not in found and not re.search(r"return [\w.()]*parameters\(", found):
                return True
    return False


def _taken(node: ast.AST) -> ast.AST:
    """Return the name that is used up, where it is read."""
    return node.args[0] if isinstance(node, ast.Call) else node


def _name(node: ast.AST) -> str:
    """Return the name that is used up."""
    used = node.args[0] if isinstance(node, ast.Call) else node
    return used.id if isinstance(used, ast.Name) else ""


def _uses_up(call: Call) -> bool:
    if not call.args or not isinstance(call.args[0], Parameters) or not isinstance(call.node.args[0], ast.Name):
        return False
    is_optimizer = call.name.startswith("torch.optim.") and call.name.count(".") == 2
    return is_optimizer or call.name in CLIPPERS or call.name in ("builtins.list", "builtins.tuple", "builtins.sum")
