"""Methods of tensors that stand in a test or comparison as they are, without being called."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import function_around
from trainworthy.check.static.libraries import is_usual_name
from trainworthy.check.static.tree import unparsed, walk

# Methods that give a number or a size, and are asked for it; NumPy's `size` is a number itself.
_NUMBERS = frozenset("dim ndimension numel nelement size get_device item".split())
_TRUTHS = frozenset("any all is_floating_point is_complex is_contiguous is_signed numel item".split())
# What only tensors have; `dim` and `size` may be settings of anything else.
_OF_TENSORS = frozenset(
    "unsqueeze permute flip contiguous masked_fill expand repeat_interleave cuda detach type_as expand_as clone mul_ "
    "add_ sub_ div_ clamp_ masked_fill_ copy_ zero_ numel requires_grad_ index_select new_zeros new_ones narrow bmm "
    "new_tensor is_floating_point".split()
)
_GIVES_TRUTHS = frozenset(
    "isnan isinf isfinite isclose isneginf isposinf eq ne gt lt ge le logical_and logical_or logical_not bool".split()
)
_ORDER = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)


def of_tensors(analysis: Analysis) -> Iterator[ast.Attribute]:
    """Yield methods of tensors that are compared with numbers, or whose truth is asked."""
    for compare in analysis.nodes.get(ast.Compare, []):
        for side in _compared(compare):
            if _is_a_tensor(analysis, side):
                yield side
    for node in analysis.nodes.get(ast.Attribute, []):
        if not isinstance(node, ast.Attribute) or node.attr not in _TRUTHS or not _is_asked(analysis, node):
            continue
        if _gives_truths(analysis, node.value) or _is_a_tensor(analysis, node):
            yield node


def _compared(node: ast.AST) -> list[ast.Attribute]:
    """Return the methods among the sides of a comparison with a number, or with several."""
    if not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return []
    sides = [node.left, node.comparators[0]]
    methods = [one for one in sides if isinstance(one, ast.Attribute) and one.attr in _NUMBERS]
    if not methods:
        return []
    others = [one for one in sides if one not in methods]
    if isinstance(node.ops[0], ast.In | ast.NotIn):
        return methods if others and isinstance(others[0], ast.Tuple | ast.List | ast.Set) else []
    return methods if isinstance(node.ops[0], _ORDER) and all(_is_a_number(one) for one in others) else []


def _is_a_number(node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        return getattr(node.func, "id", "") == "len" or getattr(node.func, "attr", "") in _NUMBERS
    if isinstance(node, ast.UnaryOp):
        return _is_a_number(node.operand)
    return isinstance(node, ast.Constant | ast.Tuple) and not isinstance(getattr(node, "value", 0), str | None)


def _is_asked(analysis: Analysis, node: ast.AST) -> bool:
    """Say whether the truth of an expression decides something."""
    parent = analysis.parents.get(node)
    while isinstance(parent, ast.BoolOp) or (isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not)):
        if isinstance(parent, ast.UnaryOp):
            return True
        node, parent = parent, analysis.parents.get(parent)
    return isinstance(parent, ast.If | ast.While | ast.IfExp | ast.Assert) and parent.test is node


def _gives_truths(analysis: Analysis, base: ast.expr) -> bool:
    """Say whether an expression compares tensors or arrays, or is a name that was given such a comparison."""
    if isinstance(base, ast.Name):
        given = _given(function_around(analysis.parents, base), base.id)
        return bool(given) and all(not isinstance(one, ast.Name) and _gives_truths(analysis, one) for one in given)
    if isinstance(base, ast.UnaryOp):
        return isinstance(base.op, ast.Invert) and _gives_truths(analysis, base.operand)
    if isinstance(base, ast.BinOp):
        return isinstance(base.op, ast.BitAnd | ast.BitOr) and _gives_truths(analysis, base.left)
    if isinstance(base, ast.Compare):
        return all(isinstance(one, _ORDER) for one in base.ops)
    return isinstance(base, ast.Call) and getattr(base.func, "attr", "") in _GIVES_TRUTHS


def _given(function: ast.AST | None, name: str) -> list[ast.expr]:
    """Return what the assignments of a function give a name."""
    return [
        one.value
        for one in (walk(function) if function is not None else ())
        if isinstance(one, ast.Assign) and any(isinstance(each, ast.Name) and each.id == name for each in one.targets)
    ]


def _is_a_tensor(analysis: Analysis, method: ast.Attribute) -> bool:
    """Say whether something is a tensor, as other methods say that are called of it, or a call that computes it."""
    base = method.value
    if isinstance(base, ast.Call):
        return isinstance(base.func, ast.Attribute) and base.func.attr in _OF_TENSORS and not is_usual_name(base.func)
    if not isinstance(base, ast.Name | ast.Attribute) or is_usual_name(base):
        return False
    text, around = unparsed(base), function_around(analysis.parents, method)
    if isinstance(base, ast.Name) and _is_annotated(around, base.id):
        return True
    nodes = walk(around) if around is not None else analysis.nodes.get(ast.Call, [])
    called = {
        one.func.attr
        for one in nodes
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and unparsed(one.func.value) == text
    }
    if any(isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and one.attr == method.attr
           and unparsed(one.value) == text for one in nodes):  # fmt: skip
        return False
    return method.attr in called or (method.attr != "size" and bool(called & _OF_TENSORS))


def _is_annotated(function: ast.AST | None, name: str) -> bool:
    """Say whether a parameter is annotated as a tensor, and as nothing else."""
    arguments = getattr(function, "args", None)
    if not isinstance(arguments, ast.arguments):
        return False
    every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    found = [unparsed(one.annotation) for one in every if one.arg == name and one.annotation is not None]
    return bool(found) and found[0].rpartition(".")[2] in ("Tensor", "FloatTensor", "LongTensor")
