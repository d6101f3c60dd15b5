"""Loops that train and evaluate by turns: the same forward pass, and a backward only where they train."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.bindings import function_around
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import unparsed, walk

_TRAINS = re.compile(
    r"(\b|_)(phase|mode|split|to_do|stage|partition|subset)\w*(\.lower\(\))? == ['\"]train(ing)?['\"]|"
    r"^['\"]train(ing)?['\"] (==|in) |^(\w+\.)*(is_|do_)?train(ing)?(_mode|_phase)?( is True)?$|"
    r"^(self\.)?(is_train|training|train)\w* and |^(\w+\.)*opt(imizer)?( is not None)?$"
)
_FORWARD = re.compile(r"^(\w*_)?(model|net|network|forward|forward_model|classifier|encoder|decoder)$", re.IGNORECASE)
_OFF = re.compile(r"no_grad|inference_mode|set_grad_enabled|enable_grad|autograd\.grad|volatile|requires_grad_?\(False")


def forward_of_both(
    backward: ast.Call, source: Source, parents: dict[ast.AST, ast.AST]
) -> tuple[ast.Call, ast.expr] | None:
    """Return the forward pass of a loop whose backward comes only where it trains, and the condition of that."""
    node: ast.AST = backward
    test = None
    while node in parents and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        above = parents[node]
        if isinstance(above, ast.If) and node in above.body and _TRAINS.search(unparsed(above.test)):
            test = above.test
        if isinstance(above, ast.For | ast.While) and node in above.body:
            call = None if test is None else _forward_before(above, node)
            return None if call is None or test is None or _may_be_off(source, backward, parents) else (call, test)
        node = above
    return None


def _forward_before(loop: ast.For | ast.While, until: ast.AST) -> ast.Call | None:
    """Return the first call of a model that a loop makes in every turn above one of its statements."""
    for statement in loop.body[: next(at for at, one in enumerate(loop.body) if one is until)]:
        for one in _always(statement):
            if isinstance(one, ast.Call) and _FORWARD.search(last_name(one.func)):
                return one
    return None


def _always(statement: ast.stmt) -> Iterator[ast.AST]:
    """Yield what is below a statement and runs whenever it does."""
    if isinstance(statement, ast.With):
        for one in statement.body:
            yield from _always(one)
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr):
        yield from walk(statement)


def _may_be_off(source: Source, node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether gradients may be turned off for a function: its file does so, or one does just above its call."""
    if _OFF.search(source.text):
        return True
    function = function_around(parents, node)
    if function is None:
        return False
    called = re.compile(rf"(?:{_OFF.pattern})[\s\S]{{0,400}}?\b{re.escape(function.name)}\(")
    texts = (text_of(one) for one in project_files(source.path) or ())
    return any(function.name in text and called.search(text) for text in texts)
