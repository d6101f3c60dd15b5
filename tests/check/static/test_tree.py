"""Our walk is ``ast.walk`` without marks, the first time and every time."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from trainworthy.check import rules
from trainworthy.check.static import interpreter
from trainworthy.check.static.tree import children, walk

_MARKS = (ast.expr_context, ast.operator, ast.unaryop, ast.cmpop, ast.boolop)
PROGRAM = """\
from __future__ import annotations
import os as o
async def f(a: int = 1, /, *b, c=2j, **d) -> None:
    global g
    async with x as y:
        await z
    async for i in j: pass
    return [k async for k in l if not m]
class C(B, metaclass=M):
    def __init__(self): nonlocal_ = lambda: ...
match p:
    case {"a": None, **rest}: pass
    case [1, *_] | Q(r=2): pass
try: u = v if w else f"{a!r:>{b}}"
except* (E, F) as e: del u[1:2, ...]
x += -y ** z @ a < b in c is not d or e and (n := 3)
"""


def texts() -> list[str]:
    paths = [*Path(rules.__path__[0]).glob("*.py"), Path(interpreter.__file__)]
    return [path.read_text(encoding="utf-8") for path in paths]


def expected(node: ast.AST) -> list[ast.AST]:
    return [one for one in ast.walk(node) if not isinstance(one, _MARKS)]


def program() -> str:
    return PROGRAM if hasattr(ast, "TryStar") else PROGRAM.replace("except*", "except")


@pytest.mark.parametrize("text", [program(), *texts()[::20]])
def test_it_walks_as_the_library_does(text: str) -> None:
    tree = ast.parse(text)
    for node in expected(tree):
        assert walk(node) == expected(node)
    assert walk(tree) == expected(tree)  # again, from what was kept


def test_children_are_those_of_the_library() -> None:
    for node in ast.walk(ast.parse(program())):
        assert list(children(node)) == [one for one in ast.iter_child_nodes(node) if not isinstance(one, _MARKS)]


def test_what_is_returned_may_be_changed() -> None:
    tree = ast.parse("def f(): return 1")
    walk(tree).clear()
    assert walk(tree) == expected(tree)
