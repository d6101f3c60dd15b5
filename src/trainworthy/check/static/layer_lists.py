"""Plain lists of layers, as trees show them."""

from __future__ import annotations

import ast

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.tree import walk


def is_batch_norm(init: ast.AST, name: str) -> bool:
    """Say whether an attribute is set to batch norm, or to what a function named for a norm makes."""
    for one in walk(init):
        if isinstance(one, ast.Assign) and any(ast.unparse(each) == f"self.{name}" for each in one.targets):
            made = [last_name(each.func).lower() for each in walk(one.value) if isinstance(each, ast.Call)]
            return any("batchnorm" in each or "build_norm" in each or each == "norm_layer" for each in made)
    return False


def runs_through(cls: ast.ClassDef, attribute: str) -> bool:
    """Say whether a method of a class goes through an attribute and calls what it finds."""
    for one in walk(cls):
        if (
            isinstance(one, ast.For)
            and isinstance(one.target, ast.Name)
            and ast.unparse(one.iter) == f"self.{attribute}"
        ):
            called = {
                each.func.id for each in walk(one) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name)
            }
            if one.target.id in called:
                return True
    return False
