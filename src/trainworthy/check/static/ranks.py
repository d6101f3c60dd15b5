"""What runs on one rank only, by the tree alone."""

from __future__ import annotations

import ast
import re

from trainworthy.check.static.assigned import called
from trainworthy.check.static.tree import walk

_OF_A_RANK = re.compile(
    r"(?:^|_)rank(?:_|$)|rank_?zero|^is_?(?:global_?)?rank|(?:^|_)(?:is_)?(?:main|master|root|primary|leader|chief)(?:_|$)|"
    r"main_?process|coordinator|is_global_zero|process_index|world_master|local_master|"
    r"(?:^|_)proc(?:ess)?_?(?:id|idx|index)$",
    re.IGNORECASE,
)
# These ask which rank it is, not how many there are or whether there are any.
_NOT_WHICH = re.compile(
    r"num_|_size$|__main__|mainl?oop|main_input|root_?dir|root_path|root_folder|^root$|^main$", re.I
)
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


def asks_which_rank(test: ast.AST) -> bool:
    """Say whether a condition speaks of which rank it is."""
    for one in walk(test):
        name = one.id if isinstance(one, ast.Name) else one.attr if isinstance(one, ast.Attribute) else ""
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value.isidentifier():
            name = one.value  # config["rank"], os.environ.get("RANK")
        if name and _OF_A_RANK.search(name) and not _NOT_WHICH.search(name):
            return True
    return False


def rank_condition(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.AST | None:
    """Return the condition on the rank that a node stands under within its function; None if there is none."""
    while node in parents:
        child, node = node, parents[node]
        if isinstance(node, ast.If | ast.IfExp | ast.While) and child is not node.test and asks_which_rank(node.test):
            return node
        if isinstance(node, ast.BoolOp) and any(one is not child and asks_which_rank(one) for one in node.values):
            return node
        if isinstance(node, ast.With) and any(asks_which_rank(one.context_expr) for one in node.items):
            return node
        if isinstance(node, _FUNCTIONS | ast.Lambda):
            break
    return None


def left_before(function: ast.AST, line: int) -> bool:
    """Say whether a function is left on other ranks above a line, or is decorated to run on one."""
    for one in getattr(function, "decorator_list", ()):
        if asks_which_rank(one):
            return True
    for one in walk(function):
        if isinstance(one, ast.If) and one.lineno < line and asks_which_rank(one.test):
            ends = [*one.body, *one.orelse]
            if any(isinstance(end, ast.Return | ast.Continue | ast.Raise) for end in ends):
                return True
    return False


def on_one_rank(node: ast.AST, parents: dict[ast.AST, ast.AST], depth: int = 3) -> bool:
    """Say whether a node runs on one rank only, as far as its file tells; the callers of its function are asked too."""
    if rank_condition(node, parents) is not None:
        return True
    around = node
    while around in parents and not isinstance(around, _FUNCTIONS):
        around = parents[around]
    if not isinstance(around, _FUNCTIONS):
        return False
    if left_before(around, getattr(node, "lineno", 0)):
        return True
    if depth == 0 or around.name == "__init__":
        return False
    users = [one for one in parents if called(one) == around.name]
    return bool(users) and all(on_one_rank(one, parents, depth - 1) for one in users)
