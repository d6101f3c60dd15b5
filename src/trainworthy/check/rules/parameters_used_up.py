"""A generator of parameters is used twice.

What it finds:
    `ps = model.parameters()`, after which `ps` goes into an optimizer and again into clipping, a loop or another call;
    also what `filter`, `chain` or a generator expression makes of it, and a loop whose turns all take `ps`.

Why:
    `parameters()` is a generator. The second user gets nothing: nothing is clipped, frozen or counted.

How sure:
    Both uses take the same variable in the same function, without an assignment in between, and no branch keeps them
    apart. Silent if a class of the project returns a list from its `parameters`, unless the model is known.
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
from trainworthy.check.static.generators import follows, is_generator, loop_around, uses_up
from trainworthy.check.static.queries import CLIPPERS, may_both_run
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
    seen: set[ast.AST] = set()
    for later, context, first, before in _of_known_models(analysis):
        seen.add(_taken(later))
        yield Hit(
            place=analysis.place(later, context),
            message="the generator of parameters was used up before, so this gets none",
            evidence=(Evidence("used up here", analysis.place(first, before)),),
            fix="Make it a list: `list(model.parameters())`.",
        )
    for read, first, in_turns in _by_name(analysis):
        if read not in seen and not _returns_a_list(analysis.source.path, analysis.source.text):
            what = (
                "the first turn of the loop uses it up, and every later one"
                if in_turns
                else "it was used up before, and this"
            )
            yield Hit(
                place=analysis.place(read),
                message=f"`{read.id}` is a generator of parameters: {what} gets none",
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


def _by_name(analysis: Analysis) -> Iterator[tuple[ast.Name, ast.AST, bool]]:
    """Yield where a name gives a generator of parameters that nothing is left of, once for each name."""
    if not analysis.source.words & {"parameters", "named_parameters"} or "torch" not in analysis.source.words:
        return
    for function in functions_of(analysis.nodes):
        names = bindings_of(function)
        for statement, name, value in names.given:
            if isinstance(value, ast.Call | ast.GeneratorExp) and is_generator(value, names):
                found = _used_again(analysis, function, names, name, (statement, value))
                if found is not None:
                    yield found


def _used_again(
    analysis: Analysis, function: ast.AST, names: Bindings, name: str, made: tuple[ast.Assign, ast.expr]
) -> tuple[ast.Name, ast.AST, bool] | None:
    parents = analysis.parents
    reads = [
        one
        for one in names.reads[name]
        if names.value_before(one) is made[1] and function_around(parents, one) is function and uses_up(one, parents)
    ]
    for at, later in enumerate(reads):
        first = next((one for one in reads[:at] if follows(one, later, parents)), None)
        if first is not None:
            return later, first, False
    if len(names.stores[name]) == 1 and name not in names.parameters:
        turned = next((one for one in reads if loop_around(one, parents, made[0]) is not None), None)
        return None if turned is None else (turned, turned, True)
    return None


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
