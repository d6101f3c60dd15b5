"""A name that nothing binds.

What it finds:
    A variable that is read, and that neither the function, nor the ones around it, nor the module binds, and that is
    no builtin: `optimizer` where `self.optimizer` was meant, a loop's variable under its old name.

Why:
    NameError, perhaps in the branch that saves or evaluates after the first epoch.

How sure:
    Silent in files with `import *`, `exec` or changed `globals()`, within `try` and `except NameError`, and about names
    that Python 2 or a notebook has.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis

BAD = """\
import torch


class Trainer:
    def __init__(self, model, steps=None):
        self.optimizer = torch.optim.Adam(model.parameters())
        if steps is not None:
            self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)  # <- TW847
"""

GOOD = """\
import torch


class Trainer:
    def __init__(self, model, steps=None):
        self.optimizer = torch.optim.Adam(model.parameters())
        if steps is not None:
            self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=steps)
"""

_BUILTINS = frozenset(dir(builtins)) | frozenset(
    "display get_ipython In Out __file__ "
    "__path__ __class__ __module__ __qualname__ __annotations__ __version__ reveal_type WindowsError "
    "unicode xrange raw_input basestring long reduce file unichr cmp execfile reload buffer apply intern".split()
)
_OPAQUE = frozenset({"exec", "globals", "execfile", "__builtins__", "vars"})


@rule(code="TW847", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the names of a file that is about training."""
    source = analysis.source
    if "torch" not in source.words or _is_opaque(analysis):
        return
    unbound = _unbound(ast.unparse(source.tree) if source.path.endswith(".ipynb") else source.text)
    if not unbound:
        return
    silent = _silent(source.tree)
    parents = {child: node for node in ast.walk(source.tree) for child in ast.iter_child_nodes(node)}
    found = [
        node
        for node in analysis.nodes.get(ast.Name, [])
        if isinstance(node, ast.Name) and node.id in unbound and isinstance(node.ctx, ast.Load)
    ]
    for node in sorted(found, key=lambda one: one.lineno):
        if node.id in unbound and node not in silent and not _is_bound_around(node, parents):
            unbound.discard(node.id)  # once per name is enough
            yield Hit(
                place=source.place(node),
                message=f"nothing binds `{node.id}`",
                fix=f"Write `self.{node.id}`." if _is_an_attribute(analysis, node.id) else None,
            )


def _is_opaque(analysis: Analysis) -> bool:
    for node in analysis.nodes.get(ast.ImportFrom, []):
        if isinstance(node, ast.ImportFrom) and any(one.name == "*" for one in node.names):
            return True
    return any(isinstance(one, ast.Name) and one.id in _OPAQUE for one in analysis.nodes.get(ast.Name, []))


def _unbound(text: str) -> set[str]:
    """Return the names that are looked up globally and are bound nowhere."""
    try:
        top = symtable.symtable(text, "<file>", "exec")
    except (SyntaxError, ValueError, RecursionError):
        return set()
    bound = {
        one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported() or one.is_namespace()
    }
    asked: set[str] = set()
    left = [top]
    while left:
        table = left.pop()
        left += table.get_children()
        for one in table.get_symbols():
            if one.is_global() or table is top:
                if one.is_declared_global() and (one.is_assigned() or one.is_imported()):
                    bound.add(one.get_name())
                if one.is_referenced():
                    asked.add(one.get_name())
    return {one for one in asked - bound - _BUILTINS if not one.startswith("__")}


def _is_bound_around(node: ast.Name, parents: dict[ast.AST, ast.AST]) -> bool:
    """Say whether a function, comprehension or class body around a name binds it: it may be free elsewhere only."""
    inner: ast.AST = node
    in_function = False
    while inner in parents:
        inner = parents[inner]
        if isinstance(inner, ast.ClassDef):
            if not in_function and node.id in _bound_by(inner):
                return True
        elif isinstance(inner, _SCOPES) and node.id in _bound_by(inner):
            return True
        in_function = in_function or isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    return False


_SCOPES = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp,
)  # fmt: skip


def _bound_by(scope: ast.AST) -> set[str]:
    """Return the names that a scope binds, those of scopes in it included: too many rather than too few."""
    found: set[str] = set()
    for one in ast.walk(scope):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store | ast.Del):
            found.add(one.id)
        elif isinstance(one, ast.arg):
            found.add(one.arg)
        elif isinstance(one, ast.alias):
            found.add((one.asname or one.name).partition(".")[0])
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler):
            found.add(one.name or "")
        elif isinstance(one, ast.MatchAs | ast.MatchStar | ast.MatchMapping):
            found.add(getattr(one, "name", None) or getattr(one, "rest", None) or "")
    return found


def _silent(tree: ast.AST) -> set[ast.AST]:
    """Return what is not evaluated, or is expected to fail: annotations, `try`, deleted code."""
    found: set[ast.AST] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST] = []
        if isinstance(node, ast.Try):
            parts = [*node.body, *node.handlers]
        elif isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = node.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
            parts = [one.annotation for one in every if one is not None and one.annotation is not None]
            parts += [node.returns] if node.returns is not None else []
        for part in parts:
            found |= set(ast.walk(part))
    return found


def _is_an_attribute(analysis: Analysis, name: str) -> bool:
    return any(
        isinstance(one, ast.Attribute) and one.attr == name and getattr(one.value, "id", "") == "self"
        for one in analysis.nodes.get(ast.Attribute, [])
    )
