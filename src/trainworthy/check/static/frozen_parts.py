"""What a method freezes, and what it puts into evaluation mode, by how it is written."""

from __future__ import annotations

import ast

from trainworthy.check.static.tree import own, unparsed, walk


def frozen_parts(method: ast.FunctionDef) -> dict[str, ast.AST]:
    """Return the parts whose parameters a method freezes, with where: in a loop over them, or by ``requires_grad_``."""
    found: dict[str, ast.AST] = {}
    for one in own(method):
        if isinstance(one, ast.For) and (part := _whose_parameters(one.iter)) and _sets_off(one):
            for each in _members(method, part):
                found.setdefault(each, one)
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr == "requires_grad_":
            given = [*one.args, *(each.value for each in one.keywords)]
            if [getattr(each, "value", None) for each in given] == [False]:
                found.setdefault(unparsed(one.func.value), one)
    return found


def parts_in_evaluation(method: ast.FunctionDef) -> dict[str, ast.AST]:
    """Return the parts that a method puts into evaluation mode, with where."""
    found: dict[str, ast.AST] = {}
    for one in own(method):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute):
            off = one.func.attr == "train" and [getattr(each, "value", None) for each in one.args] == [False]
            if off or (one.func.attr == "eval" and not one.args):
                for each in _members(method, unparsed(one.func.value)):
                    found.setdefault(each, one)
    return found


def _whose_parameters(iterated: ast.expr) -> str:
    func = iterated.func if isinstance(iterated, ast.Call) else None
    return unparsed(func.value) if isinstance(func, ast.Attribute) and func.attr == "parameters" else ""


def _sets_off(loop: ast.For) -> bool:
    """Say whether a loop over parameters freezes each, under no condition."""
    for one in loop.body:
        if isinstance(one, ast.Assign) and getattr(one.targets[0], "attr", "") == "requires_grad":
            return isinstance(one.value, ast.Constant) and one.value.value is False
        if isinstance(one, ast.Expr) and "requires_grad_(False)" in unparsed(one):
            return True
    return False


def _members(method: ast.FunctionDef, part: str) -> list[str]:
    """Return a part, or those that it stands for in a loop over several: `for m in [self.conv, self.norm]`."""
    for one in walk(method):
        if isinstance(one, ast.For) and unparsed(one.target) == part and isinstance(one.iter, ast.List | ast.Tuple):
            return [part, *(unparsed(each) for each in one.iter.elts)]
    return [part]
