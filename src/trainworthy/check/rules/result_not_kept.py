"""The result of an operation that changes nothing is thrown away.

What it finds:
    `x.masked_fill(mask, 0)`, `x.unsqueeze(0)`, `torch.clamp(x, 0, 1)` and the like as a whole statement.

Why:
    These methods return a new tensor and leave their own as it was; the mask is never applied. The ones that change
    their tensor end in an underscore.

How sure:
    Certain for tensors, and for methods that only tensors have. Silent within `try`, `with pytest.raises(...)` and
    other contexts that expect an exception, and where the call may be there to warm something up (a bare call in a
    loop that does nothing else).

When it is wrong:
    An object of another library has a method of that name that changes the object.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Tensor

BAD = """\
import torch
import torch.nn as nn


class Attention(nn.Module):
    def forward(self, scores, mask):
        scores.masked_fill(mask, float("-inf"))  # <- TW841
        if scores.dim() == 1:
            scores.unsqueeze(0)  # <- TW841
        return scores.softmax(-1)
"""

GOOD = """\
import torch
import torch.nn as nn


class Attention(nn.Module):
    def forward(self, scores, mask):
        scores.masked_fill_(mask, float("-inf"))
        if scores.dim() == 1:
            scores = scores.unsqueeze(0)
        return scores.softmax(-1)
"""

# Methods that no other well-known kind of object has.
_TENSOR_ONLY = frozenset(
    "masked_fill masked_scatter unsqueeze squeeze permute clamp index_fill index_copy scatter_add logical_not".split()
)
# Methods of tensors that other objects have, too.
_SHARED = frozenset(
    "view reshape transpose expand repeat flatten detach clone contiguous softmax log_softmax sigmoid abs neg sqrt exp "
    "log float half double long int bool view_as expand_as type_as masked_select add sub mul div".split()
)
_FUNCTIONS = frozenset(f"torch.{name}" for name in (*_TENSOR_ONLY, "abs", "exp", "log", "sqrt", "sigmoid", "softmax"))


@rule(code="TW841", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at statements that are such a call."""
    statements = {part: tree for tree in analysis.nodes.get(ast.Expr, ()) for part in _whole(tree)}
    expected = _expects_exceptions(analysis)
    names = (*_TENSOR_ONLY, *_SHARED)
    for call in once_per_place(analysis.method_calls(*names)):
        if call.node not in statements or call.node in expected or not _pure(call) or "out" in call.keywords:
            continue
        if analysis.source.path.endswith(".ipynb") and call.context.function is None:  # shown below the cell
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"the result of `{call.method}` is thrown away; the tensor stays as it was",
            fix=f"Assign the result, or use `{call.method}_` where there is one.",
        )


def _whole(statement: ast.AST) -> list[ast.AST]:
    """Return the calls whose value is that of a statement."""
    value = getattr(statement, "value", None)
    return [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value] if value is not None else []


def _pure(call: Call) -> bool:
    if call.name in _FUNCTIONS:
        return True
    if not isinstance(call.node.func, ast.Attribute):
        return False
    if isinstance(call.owner, Tensor):
        return call.owner.library == "torch.Tensor" and call.method in _TENSOR_ONLY | _SHARED
    return call.name.startswith("?.") and call.method in _TENSOR_ONLY and bool(call.node.args or call.node.keywords)


def _expects_exceptions(analysis: Analysis) -> set[ast.AST]:
    """Return what stands in ``try`` or a context that expects an exception, or is alone in a loop's body."""
    found: set[ast.AST] = set()
    for kind in (ast.Try, ast.With):
        for node in analysis.nodes.get(kind, ()):
            if isinstance(node, ast.With) and not any("aise" in ast.unparse(item.context_expr) for item in node.items):
                continue
            found |= {inner for statement in node.body for inner in walk(statement)}  # type: ignore[attr-defined]
    for loop in (ast.For, ast.While):
        for node in analysis.nodes.get(loop, ()):
            if len(node.body) == 1:  # type: ignore[attr-defined]
                found |= set(walk(node.body[0]))  # type: ignore[attr-defined]
    return found
