"""A switch that is True or False is asked whether it is None.

What it finds:
    `use_bias is not None` where `use_bias` is a parameter with the default True or False.

Why:
    False is not None: the answer is always yes, and the switch is always on.

How sure:
    The parameter's default and, if there is one, its annotation allow no None, it is not bound anew, and nothing asks
    for its truth instead.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, bindings_of, functions_of

BAD = """\
import torch


def solve(matrix, rhs=None, logdet=False):
    value = torch.linalg.solve(matrix, rhs)
    if logdet is not None:  # <- TW862
        return value, torch.logdet(matrix)
    return value, None
"""

GOOD = """\
import torch


def solve(matrix, rhs=None, logdet=False):
    value = torch.linalg.solve(matrix, rhs)
    if logdet:
        return value, torch.logdet(matrix)
    return value, None
"""


@rule(code="TW862", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at comparisons of parameters with None."""
    if "torch" not in analysis.source.words:
        return
    asked = [one for one in analysis.nodes.get(ast.Compare, []) if isinstance(one, ast.Compare) and _asks(one)]
    if not asked:
        return
    for function in functions_of(analysis.nodes):
        switches = _switches(function)
        if not switches:
            continue
        names = bindings_of(function)
        here = [one for one in asked if function.lineno <= one.lineno <= (function.end_lineno or 0)
                and getattr(one.left, "id", "") in switches]  # fmt: skip
        for name in dict.fromkeys(one.left.id for one in here):  # type: ignore[attr-defined]
            questions = [one for one in here if one.left.id == name]  # type: ignore[attr-defined]
            reads = names.reads.get(name, [])
            if name in names.stores or not all(isinstance(one.ops[0], ast.IsNot) for one in questions):
                continue
            others = [one for one in reads if one not in [question.left for question in questions]]
            if any(_is_of_truth(analysis, one) for one in others):
                continue
            for one in questions:
                yield Hit(
                    place=analysis.place(one),
                    message=f"`{name}` is {switches[name]} by default, which is not None either: this is always so",
                    evidence=(Evidence("the function", analysis.place(function.args)),),
                    fix=f"Ask for `{name}`.",
                )


def _asks(node: ast.Compare) -> bool:
    right = node.comparators[0]
    return isinstance(node.ops[0], ast.Is | ast.IsNot) and isinstance(right, ast.Constant) and right.value is None


def _switches(function: Def) -> dict[str, bool]:
    """Return the parameters whose default is True or False and that cannot be anything else."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    given = [*zip(reversed(positional), reversed(arguments.defaults), strict=False)]
    given += [(arg, value) for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
    return {
        arg.arg: value.value
        for arg, value in given
        if isinstance(value, ast.Constant) and isinstance(value.value, bool)
        and (arg.annotation is None or ast.unparse(arg.annotation) == "bool")
    }  # fmt: skip


def _is_of_truth(analysis: Analysis, read: ast.Name) -> bool:
    """Say whether something asks whether a name is true."""
    parent = analysis.parents.get(read)
    return isinstance(parent, ast.If | ast.IfExp | ast.BoolOp | ast.UnaryOp | ast.While | ast.Assert | ast.Compare)
