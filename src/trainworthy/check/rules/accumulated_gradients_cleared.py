"""Gradients are cleared before every micro-batch although the step comes after several.

What it finds:
    `zero_grad()` before each `backward()`, while `step()` runs only every few batches (`if step % k == 0`, a name
    made by such a test, `if should_step`), or after a loop over micro-batches; also where clearing and backward stand
    in a method that is called in such a loop, and the step in another or behind the loop; or only the backward does.

Why:
    What the other micro-batches added is gone: the update uses the last one only, divided by their number.

How sure:
    All three stand in one function, or are reached from one, clear and backward in the same turn, and the step alone is
    under a condition about a count or behind the loop. Silent if clearing is under a condition of its own, and where
    another backward comes between the loop and the step.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import is_periodic, last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import always_with, once_per_place, optimizer_steps, receiver, scaler_calls
from trainworthy.check.static.source import UnreadableError, read_source
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters())
for i in range(100):
    optimizer.zero_grad()  # <- TW342
    (model(torch.rand(8, 4)).mean() / 4).backward()
    if (i + 1) % 4 == 0:
        optimizer.step()
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters())
for i in range(100):
    (model(torch.rand(8, 4)).mean() / 4).backward()
    if (i + 1) % 4 == 0:
        optimizer.step()
        optimizer.zero_grad()
"""


@rule(code="TW342", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at clearing and backward in one turn whose step is not in every turn."""
    yield from _ungated(analysis)
    yield from _apart(analysis)
    yield from _backward_by_a_method(analysis)
    backwards = list(analysis.method_calls("backward"))
    steps = [*optimizer_steps(analysis), *scaler_calls(analysis, "step")]
    yield from _before_a_loop_ends(analysis, backwards, steps)
    for clear in once_per_place(analysis.method_calls("zero_grad")):
        for backward in backwards:
            if not (
                _same_body(clear, backward) and clear.at < backward.at and always_with(clear.context, backward.context)
            ):
                continue
            step = next((one for one in steps if _later_and_rarer(backward, one) and _fits(clear, one)), None)
            if step is not None and not _between(clear, backward, steps):
                yield Hit(
                    place=analysis.place(clear.node, clear.context),
                    message="gradients are cleared before every micro-batch; the step sees only the last one's",
                    evidence=(Evidence("it steps once in several", analysis.place(step.node, step.context)),),
                    fix="Clear them after the step, under the same condition.",
                )
                break


def _before_a_loop_ends(analysis: Analysis, backwards: list[Call], steps: list[Call]) -> Iterator[Hit]:
    """Yield clearing with a backward in each turn of a loop behind which the step comes."""
    for clear in once_per_place(analysis.method_calls("zero_grad")):
        own = [one for one in backwards if _same_body(clear, one) and clear.at < one.at]
        own = [one for one in own if always_with(clear.context, one.context)]
        if not own or any(_same_body(clear, one) and _fits(clear, one) for one in steps):
            continue
        for step in steps:
            loop = _loop_left(clear, step)
            if loop is None or not _fits(clear, step) or not isinstance(loop, ast.For):
                continue
            others = [
                one for one in backwards if own[-1].at < one.at < step.at and _loop_left(own[-1], one) is not None
            ]
            inner = [one for one in steps if _fits(clear, one) and _loop_left(one, step) is not None]
            if others or inner:
                continue
            yield Hit(
                place=analysis.place(clear.node, clear.context),
                message="gradients are cleared before every micro-batch; the step sees only the last one's",
                evidence=(Evidence("it steps after the loop", analysis.place(step.node, step.context)),),
                fix="Clear them before the loop, or after the step.",
            )
            break


def _loop_left(a: Call, b: Call) -> ast.AST | None:
    """Return the innermost loop around what leads to ``a`` that ends before what leads to ``b``, in their function."""
    ways = ((*a.context.callers, a), (*b.context.callers, b))
    depth = next((at for at, pair in enumerate(zip(*ways, strict=False)) if pair[0] is not pair[1]), None)
    if depth is None or a.at >= b.at:
        return None
    first, second = ways[0][depth].context, ways[1][depth].context
    if first.function is not second.function or any(one.context.loops for one in ways[0][depth + 1 :]):
        return None
    shared = len(second.loops)
    return first.loops[-1] if len(first.loops) == shared + 1 and first.loops[:shared] == second.loops else None


def _apart(analysis: Analysis) -> Iterator[Hit]:
    """Yield clearing in a method that others of the project call in a loop, before they call the one that steps."""
    for cls in analysis.classes:
        methods = [one for one in cls.node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
        clearing = [(one, clear) for one in methods for clear in _clears_alone(one)]
        for method, clear in clearing:
            of = unparsed(clear.func.value)  # type: ignore[attr-defined]
            stepping = [one for one in methods if one is not method and _steps_alone(one, of)]
            pairs = [(method.name, one.name) for one in stepping]
            if any(_called_in_a_loop_before(analysis.source.path, cls.node.name, *pair) for pair in pairs):
                yield Hit(
                    place=analysis.place(clear),
                    message="gradients are cleared before every micro-batch; the step sees only the last one's",
                    evidence=(Evidence("it steps here, after several", analysis.place(stepping[0])),),
                    fix="Clear them after the step.",
                )


def _backward_by_a_method(analysis: Analysis) -> Iterator[Hit]:
    """Yield clearing in each turn of a loop that calls a method with a backward; the step comes after the loop."""
    for cls in analysis.classes:
        methods = {one.name: one for one in cls.node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
        makers = {name for name, one in methods.items() if _calls_in(one, "backward") and not _calls_in(one, "step")}
        for method in methods.values() if makers else ():
            for clear, loop in _cleared_in_loops(method):
                of = unparsed(clear.func.value)  # type: ignore[attr-defined]
                made = [one.lineno for one in _calls_in(method, "backward", *makers)]
                behind = [one for one in _steps_of(method, of) if one.lineno > (loop.end_lineno or loop.lineno)]
                turns = [line for line in made if clear.lineno < line <= (loop.end_lineno or loop.lineno)]
                inner = _calls_in(loop, "backward")  # which the analysis sees by itself
                if not behind or not turns or inner or any(one in walk(loop) for one in _steps_of(method, of)):
                    continue
                if any((loop.end_lineno or loop.lineno) < line < behind[0].lineno for line in made):
                    continue
                yield Hit(
                    place=analysis.place(clear),
                    message="gradients are cleared before every micro-batch; the step sees only the last one's",
                    evidence=(Evidence("it steps after the loop", analysis.place(behind[0])),),
                    fix="Clear them before the loop, or after the step.",
                )


def _cleared_in_loops(method: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[ast.Call, ast.For]]:
    """Yield calls of `zero_grad` in each turn of a loop, with the loop."""
    for loop in walk(method):
        for one in loop.body if isinstance(loop, ast.For) else ():
            call = one.value if isinstance(one, ast.Expr) else None
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "zero_grad":
                yield call, loop  # type: ignore[misc]


def _steps_of(method: ast.AST, optimizer: str) -> list[ast.Call]:
    """Return the calls that step an optimizer, by itself or through a scaler."""
    found = []
    for one in _calls_in(method, "step"):
        given = [unparsed(each) for each in one.args]
        if optimizer in (*given, unparsed(one.func.value)):  # type: ignore[attr-defined]
            found.append(one)
    return sorted(found, key=lambda one: one.lineno)


def _calls_in(node: ast.AST, *names: str) -> list[ast.Call]:
    calls = [one for one in nodes_of(node, ast.Call) if isinstance(one.func, ast.Attribute)]
    return [one for one in calls if one.func.attr in names]  # type: ignore[attr-defined]


def _clears_alone(method: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.Call]:
    """Return the clearing of a method that has a backward behind it and no step, under no condition and in no loop."""
    if _calls_in(method, "step"):
        return []
    backwards = _calls_in(method, "backward")
    plain = [one.value for one in method.body if isinstance(one, ast.Expr)]
    return [
        one
        for one in _calls_in(method, "zero_grad")
        if one in plain and any(one.lineno < other.lineno for other in backwards)
    ]


def _steps_alone(method: ast.FunctionDef | ast.AsyncFunctionDef, of: str) -> bool:
    """Say whether a method steps an optimizer, and neither clears its gradients nor makes new ones."""
    return not _calls_in(method, "zero_grad", "backward") and any(
        unparsed(one.func.value) == of  # type: ignore[attr-defined]
        for one in _calls_in(method, "step")
    )


@lru_cache(maxsize=256)
def _called_in_a_loop_before(path: str, cls: str, first: str, second: str) -> bool:
    """Say whether a function of the project calls one method in a loop that is left before it calls the other.

    Names that losses and optimizers have as well count where the class is named.
    """
    needed = (first, second, cls) if {first, second} & _NAMES_OF_TORCH else (first, second)
    for file in project_files(path) or ():
        text = text_of(file)
        if any(one not in text for one in needed):
            continue
        try:
            tree = read_source(file).tree
        except UnreadableError:
            continue
        for body in walk(tree):
            if isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef) and _loops_before(body, first, second):
                return True
    return False


_NAMES_OF_TORCH = {"backward", "step"}


def _loops_before(body: ast.AST, first: str, second: str) -> bool:
    loops = nodes_of(body, ast.For)
    for one in nodes_of(body, ast.Attribute):
        owner = unparsed(one.value) if one.attr == second else None
        before = [loop for loop in loops if one.lineno > (loop.end_lineno or loop.lineno)] if owner else []
        if any(_mentions(loop, owner, first) and not _mentions(loop, owner, second) for loop in before):
            return True
    return False


def _mentions(node: ast.AST, owner: str | None, name: str) -> bool:
    return any(one.attr == name and unparsed(one.value) == owner for one in nodes_of(node, ast.Attribute))


def _ungated(analysis: Analysis) -> Iterator[Hit]:
    """Yield clearing of a model within `accelerator.accumulate`, which holds back only what optimizers do."""
    for clear in once_per_place(analysis.method_calls("zero_grad")):
        around = [one.node for one in clear.context.withs if isinstance(one.node, ast.Call)]
        accumulates = any(last_name(one.func) == "accumulate" and "ccelerator" in unparsed(one.func) for one in around)
        if accumulates and "optim" not in receiver(clear).lower() and receiver(clear).rpartition(".")[2] != "opt":
            if any("sync_gradients" in unparsed(test) for test, _ in clear.context.branches):
                continue
            yield Hit(
                place=analysis.place(clear.node, clear.context),
                message=f"`{receiver(clear)}.zero_grad()` clears at every micro-batch; only a prepared optimizer waits",
                fix="Call `zero_grad()` of the optimizer.",
            )


def _same_body(a: Call, b: Call) -> bool:
    return (
        a.context.function is b.context.function
        and a.context.loops == b.context.loops
        and (a.context.callers == b.context.callers)
    )


def _later_and_rarer(backward: Call, step: Call) -> bool:
    if not _same_body(backward, step) or step.at < backward.at or not always_with(backward.context, step.context):
        return False
    extra = [one for one in step.context.branches if one not in backward.context.branches]
    return any(truth and is_periodic(test, step.context) for test, truth in extra)


def _fits(clear: Call, step: Call) -> bool:
    """Say whether the two are of one optimizer, as far as names tell; scalers name it as an argument."""
    stepped = unparsed(step.node.args[0]) if step.node.args else receiver(step)
    return receiver(clear) == stepped


def _between(clear: Call, backward: Call, steps: list[Call]) -> bool:
    return any(clear.at < one.at < backward.at and _same_body(clear, one) for one in steps)
