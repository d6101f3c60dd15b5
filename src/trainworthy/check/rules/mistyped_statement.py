"""A statement that is one stroke away from what was meant, and does nothing.

What it finds:
    `self.mean: torch.mean(x)` (an annotation), `mode == "train"` and `x - x.mean()` as whole statements,
    `reward = +gain` for `+=`, `x[-2:0]` (which is empty), `step(*kwargs)` where `kwargs` is a function's `**kwargs`,
    and `step % log_every or last` as a condition, without `== 0`.

Why:
    Python accepts all of them: the value is never stored, never added, never changed; the one star hands over the
    names of the arguments.

How sure:
    The annotation is a call and stands at an attribute; the comparison's value goes nowhere; nothing else is there to
    raise. A class may compare for its side effects: silent within `try` and `with pytest.raises(...)`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import nodes_of, walk

BAD = """\
import torch


class Distance(torch.nn.Module):
    def forward(self, x, mode=None, **kwargs):
        self.mean_norm: torch.mean(x.norm(dim=1)).item()  # <- TW815
        if mode is None:
            mode == "train"  # <- TW815
        x[-2:0] = 0  # <- TW815
        return torch.std(x, *kwargs)  # <- TW815
"""

GOOD = """\
import torch


class Distance(torch.nn.Module):
    def forward(self, x, mode=None, **kwargs):
        self.mean_norm = torch.mean(x.norm(dim=1)).item()
        if mode is None:
            mode = "train"
        x[-2:] = 0
        return torch.std(x, **kwargs)
"""


_TIMES = frozenset({"timeit", "perf_counter", "benchmark", "Timer", "profiler"})  # what is computed is thrown away


@rule(code="TW815", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at statements, slices and stars."""
    if "torch" not in analysis.source.words:
        return
    place = analysis.source.place
    for node in analysis.nodes.get(ast.AnnAssign, []):
        if _is_a_call_as_annotation(node):
            yield Hit(place=place(node), message="this is an annotation: nothing is stored", fix="Write `=`.")
    expected = _expected_to_raise(analysis)
    is_timed = is_a_test(analysis.source) or bool(_TIMES & analysis.source.words) or "bench" in analysis.source.path
    for node in analysis.nodes.get(ast.Expr, []):
        if node not in expected and _is_an_equation(node):
            yield Hit(place=place(node), message="nothing looks at this comparison", fix="Write `=`, or `assert`.")
        if node not in expected and not is_timed and _is_a_computation(node):
            yield Hit(
                place=place(node), message="nothing is stored of this computation", fix="Write `=`, or remove it."
            )
    for node in analysis.nodes.get(ast.Assign, []):
        value = getattr(node, "value", None)
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.UAdd) and _is_computed(value.operand):
            yield Hit(place=place(node), message="`= +` stores the value and adds nothing", fix="Write `+=`.")
    for node in analysis.nodes.get(ast.Slice, []):
        if isinstance(node, ast.Slice) and _is_empty(node):
            yield Hit(
                place=place(node), message="this slice is empty: it ends before the first", fix="Leave out the 0."
            )
    yield from _one_star(analysis)
    yield from _modulus_without_zero(analysis)


def _is_a_call_as_annotation(node: ast.AST) -> bool:
    """Say whether an attribute is annotated, without a value, with something that is called."""
    return (
        isinstance(node, ast.AnnAssign)
        and node.value is None
        and isinstance(node.target, ast.Attribute)
        and any(isinstance(one, ast.Call) for one in walk(node.annotation))
    )


def _is_an_equation(node: ast.AST) -> bool:
    value = getattr(node, "value", None)
    return isinstance(value, ast.Compare) and isinstance(value.ops[0], ast.Eq)


def _is_a_computation(node: ast.AST) -> bool:
    """Say whether a statement only computes something of names; shifts and bars chain objects in some libraries."""
    value = getattr(node, "value", None)
    if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Add | ast.Sub | ast.Mult | ast.Div):
        return False
    return all(isinstance(_first(one), ast.Name) for one in (value.left, value.right))


def _first(node: ast.expr) -> ast.expr:
    """Return what an expression begins with: ``x`` of ``x.mean()[0] - y``."""
    while not isinstance(node, ast.Name):
        inner = getattr(node, "left", getattr(node, "value", getattr(node, "func", None)))
        if not isinstance(inner, ast.expr):
            break
        node = inner
    return node


def _expected_to_raise(analysis: Analysis) -> set[ast.AST]:
    """Return what may be there to raise, and what a notebook shows below its cell."""
    shown = analysis.source.tree.body if analysis.source.path.endswith(".ipynb") else []
    return set(shown) | {
        inner
        for kind in (ast.Try, ast.With)
        for node in analysis.nodes.get(kind, [])
        for statement in getattr(node, "body", [])
        for inner in walk(statement)
    }


def _is_computed(operand: ast.expr) -> bool:
    return isinstance(operand, ast.Name | ast.Attribute) or (
        isinstance(operand, ast.UnaryOp) and isinstance(operand.op, ast.USub)
    )


def _is_empty(node: ast.Slice) -> bool:
    """Say whether a slice runs from an element near the end to the first."""
    return (
        isinstance(node.lower, ast.UnaryOp)
        and isinstance(node.lower.op, ast.USub)
        and isinstance(node.upper, ast.Constant)
        and node.upper.value == 0
        and type(node.upper.value) is int
        and node.step is None
    )


def _one_star(analysis: Analysis) -> Iterator[Hit]:
    """Yield calls that unpack a function's `**kwargs` with one star."""
    for node in functions_of(analysis.nodes):
        name = node.args.kwarg.arg if node.args.kwarg is not None else None
        if name is None or any(isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store)
                               for one in walk(node)):  # fmt: skip
            continue
        for call in walk(node):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") not in ("print", "set", "list", "zip"):
                for one in call.args:
                    if isinstance(one, ast.Starred) and getattr(one.value, "id", "") == name:
                        yield Hit(
                            place=analysis.source.place(one),
                            message=f"one star hands over the names of `{name}`, not its values",
                            fix=f"Write `**{name}`.",
                        )


def _modulus_without_zero(analysis: Analysis) -> Iterator[Hit]:
    """Yield conditions like `step % log_every`, which hold in all turns but every n-th."""
    for node in analysis.nodes.get(ast.If, []):
        if not isinstance(node, ast.If) or isinstance(node.body[0], ast.Continue | ast.Return | ast.Raise):
            continue
        for one in (part for part in nodes_of(node.test, ast.BoolOp)):
            for value in one.values:
                if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mod) and _is_an_interval(value.right):
                    yield Hit(
                        place=analysis.source.place(value),
                        message="this holds in all turns but every n-th",
                        fix="Compare it with 0.",
                    )


def _is_an_interval(node: ast.expr) -> bool:
    name = getattr(node, "attr", getattr(node, "id", ""))
    return any(word in name.lower() for word in ("every", "freq", "interval", "period"))
