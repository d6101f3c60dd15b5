"""A comparison with NaN by `==` or `!=`.

What it finds:
    `x == np.nan`, `x != float("nan")`, `x.eq(torch.nan)` and the like, also by a name, a setting or the default of an
    argument that is NaN.

Why:
    NaN equals nothing, not even itself: the filter never matches, and NaN goes into training.

How sure:
    Certain, but for a setting or an argument, which may be given otherwise: silent if the file gives it, or asks
    whether it is NaN.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Context
from trainworthy.check.static.libraries import libraries
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed
from trainworthy.check.static.values import UNKNOWN, Ref, Value

BAD = """\
import numpy as np

x = np.array([1.0, np.nan])
clean = x[x != np.nan]  # <- TW205
"""

GOOD = """\
import numpy as np

x = np.array([1.0, np.nan])
clean = x[~np.isnan(x)]
"""


@rule(code="TW205", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at comparisons."""
    for operation in analysis.operations:
        node = operation.node
        if not isinstance(node, ast.Compare) or not any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            continue
        nodes = (node.left, *node.comparators)
        values = zip(operation.operands, nodes, strict=True)
        if any(_is_nan(v, n, analysis) or _is_nan_by_default(v, n, analysis, operation.context) for v, n in values):
            yield _hit(analysis, node, operation.context)
    for call in once_per_place(analysis.method_calls("eq", "ne", "equal", "not_equal")):
        pairs = [*zip(call.args, call.node.args, strict=False)]
        if not call.starred and len(pairs) == len(call.node.args) and any(_is_nan(v, n, analysis) for v, n in pairs):
            yield _hit(analysis, call.node, call.context)


def _hit(analysis: Analysis, node: ast.AST, context: Context) -> Hit:
    return Hit(place=analysis.place(node, context), message="NaN equals nothing, not even itself", fix="Use `isnan`.")


_NAN = (
    "numpy.nan", "numpy.NaN", "numpy.NAN", "torch.nan", "math.nan", "jax.numpy.nan",
)  # fmt: skip
_NUMBERS = frozenset({"float32", "float64", "float16", "tensor", "as_tensor", "array", "asarray", "full"})


def _is_nan(value: Value, node: ast.expr, analysis: Analysis) -> bool:
    """Say whether an operand is NaN, also as a number of NumPy or a tensor that is made where it stands."""
    if isinstance(value, Ref) and value.name in _NAN:
        if isinstance(node, ast.Name):
            return not _may_be_another(node, analysis)
        return not isinstance(node, ast.Attribute) or not _may_be_given(node, analysis)
    inner = node.args[0] if isinstance(node, ast.Call) and len(node.args) == 1 else None
    if inner is None or not isinstance(node, ast.Call) or last_name(node.func) not in _NUMBERS:
        return False
    return _is_text_of_nan(inner) or (isinstance(inner, ast.Call | ast.Attribute) and _is_written_nan(inner))


def _is_text_of_nan(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.strip().lower() == "nan"


def _is_written_nan(node: ast.expr | None) -> bool:
    """Say whether an expression is NaN by how it is written."""
    if isinstance(node, ast.Call):
        return last_name(node.func) == "float" and len(node.args) == 1 and _is_text_of_nan(node.args[0])
    name = unparsed(node) if isinstance(node, ast.Attribute) else ""
    return name.partition(".")[2].lower() == "nan" and name.partition(".")[0] in ("np", "numpy", "torch", "math")


def _may_be_another(node: ast.Name, analysis: Analysis) -> bool:
    """Say whether the file binds a name in several places, or asks whether it is NaN."""
    if node not in analysis.parents:
        return True  # of another file, where it is looked at
    every = [one for one in analysis.nodes[ast.Name] if isinstance(one, ast.Name) and one.id == node.id]
    return len([one for one in every if isinstance(one.ctx, ast.Store)]) > 1 or _is_asked(analysis.source.tree, node.id)


def _may_be_given(node: ast.Attribute, analysis: Analysis) -> bool:
    """Say whether the file sets an attribute, or gives it by name to a call, or asks whether it is NaN."""
    if (isinstance(node.value, ast.Name) and node.value.id in libraries(analysis.source)) or node.attr.lower() == "nan":
        return False
    stores = [one for one in analysis.nodes[ast.Attribute] if isinstance(one, ast.Attribute) and one.attr == node.attr]
    if node not in analysis.parents or len([one for one in stores if isinstance(one.ctx, ast.Store)]) > 1:
        return True
    if any(isinstance(one, ast.keyword) and one.arg == node.attr for one in analysis.nodes[ast.keyword]):
        return True
    return _is_asked(analysis.source.tree, node.attr)


def _is_asked(scope: ast.AST, name: str) -> bool:
    """Say whether something of a name is asked whether it is NaN, or compared with itself."""
    for call in nodes_of(scope, ast.Call):
        asks = "nan" in last_name(call.func).lower() or last_name(call.func) in ("isnull", "isna", "isfinite")
        if asks and any(last_name(one) == name for one in call.args):
            return True
    compared = (one for one in nodes_of(scope, ast.Compare) if last_name(one.left) == name)
    return any(last_name(one.comparators[0]) == name for one in compared)


def _is_nan_by_default(value: Value, node: ast.expr, analysis: Analysis, context: Context) -> bool:
    """Say whether an operand is an argument that is NaN if it is not given, and nothing asks for that."""
    function = context.function
    if not isinstance(node, ast.Name) or value is not UNKNOWN or function is None:
        return False
    arguments = function.node.args
    names = [*arguments.posonlyargs, *arguments.args]
    pairs: list[tuple[ast.arg, ast.expr | None]] = [*zip(reversed(names), reversed(arguments.defaults), strict=False)]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    default = next((default for argument, default in pairs if argument.arg == node.id), None)
    if not _is_written_nan(default) or _is_asked(function.node, node.id):
        return False
    return not any(one.id == node.id and isinstance(one.ctx, ast.Store) for one in nodes_of(function.node, ast.Name))
