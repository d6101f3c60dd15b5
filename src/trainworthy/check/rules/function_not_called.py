"""A function stands in a test or comparison without being called.

What it finds:
    `if torch.cuda.is_available:`, `if is_main_process and ...:` or `rank == 0` where the name is a function that is
    called elsewhere in the file, or a method of the class that is no property; `dist.get_rank == 0`. Likewise a
    tensor's method: `x.dim == 4`, `x.dim in (2, 3)`, `mask.numel == 0`, `if torch.isnan(loss).any:`.

Why:
    A function is always true, and never equal to a number: the branch for the other case never runs. Every rank saves,
    or none does.

How sure:
    The name is torch's function, a method of the class, or a function of this file or an import that the same file
    calls without arguments. A tensor's method is that of something computed in place, or of what other methods of
    tensors are called of in the same function. Silent if anything in the file binds the name otherwise, if a class that
    descends from the method's has something else by that name, and where one of two functions is chosen by `or`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.attributes import replaced_below
from trainworthy.check.static.tree import nodes_of, unparsed
from trainworthy.check.static.uncalled import of_tensors

BAD = """\
import torch
import torch.distributed as dist


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


device = "cuda" if torch.cuda.is_available else "cpu"  # <- TW826
if rank == 0:  # <- TW826
    print(device, rank())
"""

GOOD = """\
import torch
import torch.distributed as dist


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


device = "cuda" if torch.cuda.is_available() else "cpu"
if rank() == 0:
    print(device, rank())
"""

_PREDICATES = (
    "cuda.is_available", "mps.is_available", "distributed.is_initialized", "distributed.is_available",
    "dist.is_initialized", "dist.is_available", "xpu.is_available", "torch.is_grad_enabled",
    "torch.is_autocast_enabled", "cuda.is_initialized", "cuda.is_bf16_supported", "dist.get_rank",
    "distributed.get_rank", "dist.get_world_size", "distributed.get_world_size", "cuda.device_count",
)  # fmt: skip
_ORDER = ast.Lt | ast.LtE | ast.Gt | ast.GtE


@rule(code="TW826", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what is asked for its truth, and at comparisons."""
    if "torch" not in analysis.source.words:
        return
    callable_names: set[str] | None = None
    asked = list(_asked(analysis))
    for node in asked:
        if isinstance(node, ast.Attribute):
            if unparsed(node).endswith(_PREDICATES):
                yield _hit(analysis, node)
            continue
        callable_names = _only_functions(analysis) if callable_names is None else callable_names
        if node.id in callable_names:
            yield _hit(analysis, node)
    yield from (_hit(analysis, node) for node in of_tensors(analysis))
    functions = {getattr(one, "name", "") for one in analysis.nodes.get(ast.FunctionDef, [])}
    methods = [one for one in asked if isinstance(one, ast.Attribute) and one.attr in functions]
    yield from _methods(analysis, [one for one in methods if _is_self(one.value)])


def _hit(analysis: Analysis, node: ast.expr) -> Hit:
    text = unparsed(node)
    return Hit(place=analysis.place(node), message=f"`{text}` is a function, not its result", fix=f"Write `{text}()`.")


def _asked(analysis: Analysis) -> Iterator[ast.Name | ast.Attribute]:
    """Yield names and attributes whose truth or order is asked."""
    for kind in (ast.If, ast.While, ast.IfExp, ast.BoolOp, ast.UnaryOp, ast.Compare):
        for node in analysis.nodes.get(kind, []):
            asked: list[ast.expr] = []
            if isinstance(node, ast.If | ast.While | ast.IfExp):
                asked = [node.test]
            elif isinstance(node, ast.BoolOp):
                asked = node.values if _is_asked(node, analysis.parents) else node.values[:-1]
            elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
                asked = [node.operand]
            elif isinstance(node, ast.Compare):
                asked = _compared(node)
            yield from (one for one in asked if isinstance(one, ast.Name | ast.Attribute))


def _is_asked(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether the truth of an `and` or `or` is what matters: its last operand is its value otherwise."""
    while isinstance(parent := parents.get(node), ast.BoolOp):
        node = parent
    if isinstance(parent, ast.If | ast.While | ast.IfExp | ast.Assert):
        return parent.test is node
    return isinstance(parent, ast.UnaryOp) or (isinstance(parent, ast.comprehension) and node in parent.ifs)


def _compared(node: ast.Compare) -> list[ast.expr]:
    """Return the sides of a comparison by order, or with a number."""
    sides = [node.left, *node.comparators]
    number = any(isinstance(one, ast.Constant) and isinstance(one.value, int | float) for one in sides)
    if all(isinstance(one, _ORDER) for one in node.ops):
        return sides
    equal = all(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops)
    return sides if equal and (number or any("rank" in unparsed(one) for one in sides)) else []


def _only_functions(analysis: Analysis) -> set[str]:
    """Return names that a file defines or imports as a function, calls without arguments, and binds no other way."""
    called = {
        one.func.id
        for one in analysis.nodes.get(ast.Call, [])
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and not one.args and not one.keywords
    }
    members = {
        one
        for cls in analysis.nodes.get(ast.ClassDef, [])
        if isinstance(cls, ast.ClassDef)
        for one in cls.body
        if isinstance(one, ast.FunctionDef)
    }
    functions = [one for one in analysis.nodes.get(ast.FunctionDef, []) if isinstance(one, ast.FunctionDef)]
    defined = {one.name for one in functions if one not in members}
    for one in analysis.nodes.get(ast.ImportFrom, []):
        if isinstance(one, ast.ImportFrom):
            defined |= {alias.asname or alias.name for alias in one.names}
    defined = {one for one in defined & called if one[:1].islower()}
    stored = {
        one.id
        for one in analysis.nodes.get(ast.Name, [])
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)
    }
    stored |= {one.arg for one in analysis.nodes.get(ast.arg, []) if isinstance(one, ast.arg)}
    return defined - stored


def _methods(analysis: Analysis, asked: list[ast.Attribute]) -> Iterator[Hit]:
    """Yield methods of a class that its own methods test without calling them."""
    known = {one.node: one for one in analysis.classes} if asked else {}
    for cls in analysis.nodes.get(ast.ClassDef, []) if asked else []:
        if not isinstance(cls, ast.ClassDef) or cls not in known:
            continue
        methods = {one.name for one in cls.body if isinstance(one, ast.FunctionDef) and not one.decorator_list}
        stored = {one.attr for one in nodes_of(cls, ast.Attribute) if isinstance(one.ctx, ast.Store)}
        names = methods - stored - {one.id for one in nodes_of(cls, ast.Name)}
        for node in asked:
            inside = cls.lineno < node.lineno <= (cls.end_lineno or 0) and node.attr in names
            if inside and not replaced_below(analysis.source.path, known[cls], node.attr):
                yield _hit(analysis, node)


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
