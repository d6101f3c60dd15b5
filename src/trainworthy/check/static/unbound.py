"""Local names that are read where no line on any way there has bound them."""

from __future__ import annotations

import ast

from trainworthy.check.static.tree import children, nodes_of

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_INNER = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
_COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def read_too_early(function: _Function) -> list[ast.Name]:
    """Return reads of a function's own names on ways on which nothing bound them before."""
    walk = _Walk(function)
    walk.block(function.body, set(walk.parameters))
    return walk.found


def parameters_of(function: _Function) -> set[str]:
    """Return the names of a function's parameters."""
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {one.arg for one in given if one is not None}


class _Walk:
    """Follows the statements with the names that may be bound so far."""

    def __init__(self, function: _Function) -> None:
        self.parameters = parameters_of(function)
        outer = {name for one in _own(function) if isinstance(one, ast.Global | ast.Nonlocal) for name in one.names}
        changed = {one.target.id for one in _own(function)
                   if isinstance(one, ast.AugAssign) and isinstance(one.target, ast.Name)}  # fmt: skip
        self.locals = (_bound(function.body) | changed) - outer
        self.found: list[ast.Name] = []

    def block(self, statements: list[ast.stmt], names: set[str]) -> set[str]:
        """Follow statements; return what may be bound after them."""
        for one in statements:
            names = self.statement(one, names)
        return names

    def statement(self, one: ast.stmt, names: set[str]) -> set[str]:
        """Follow one statement."""
        if isinstance(one, ast.If):
            self.reads(one.test, names)
            names = names | _bound([ast.Expr(one.test)])
            return self.block(one.body, set(names)) | self.block(one.orelse, set(names))
        if isinstance(one, ast.For | ast.AsyncFor | ast.While):
            first = one.test if isinstance(one, ast.While) else one.iter
            self.reads(first, names | (_bound([one]) if isinstance(one, ast.While) else set()))
            names = names | _bound([one])  # of the turn before
            return self.block(one.orelse, self.block(one.body, set(names)))
        if isinstance(one, ast.With | ast.AsyncWith):
            for item in one.items:
                self.reads(item.context_expr, names)
                names = names | _bound([ast.Expr(item.optional_vars)] if item.optional_vars is not None else [])
            return self.block(one.body, names)
        if isinstance(one, ast.Try | ast.Match):
            self.parts(one, names | _bound([one]))
            return names | _bound([one])
        if not isinstance(one, _INNER):
            self.reads(one, names)
        return names | _bound([one])

    def parts(self, one: ast.AST, names: set[str]) -> None:
        """Look into what may be left anywhere; whatever it binds may be bound."""
        for child in children(one):
            if isinstance(child, ast.stmt):
                self.statement(child, names)
            elif not isinstance(child, _INNER):
                self.parts(child, names)

    def reads(self, node: ast.AST, names: set[str]) -> None:
        """Note the names that an expression or plain statement reads before anything bound them."""
        if isinstance(node, _INNER | _COMPREHENSIONS):
            return
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            if node.id in self.locals and node.id not in names:
                self.found.append(node)
            return
        target = node.target if isinstance(node, ast.AugAssign) else None
        if isinstance(target, ast.Name) and target.id in self.locals - names:
            self.found.append(target)
        inner = _bound([ast.Expr(node)]) if isinstance(node, ast.expr) else set()
        for child in children(node):
            self.reads(child, names | inner)


def _own(node: ast.AST) -> list[ast.AST]:
    """Return what stands in a function, functions and classes within it left out."""
    found: list[ast.AST] = []
    left = list(children(node))
    while left:
        one = left.pop()
        found.append(one)
        if not isinstance(one, _INNER):
            left += children(one)
    return found


def _bound(statements: list[ast.stmt]) -> set[str]:
    """Return the names that statements may bind; the variables of comprehensions are their own."""
    names: set[str] = set()
    left: list[ast.AST] = list(statements)
    while left:
        one = left.pop()
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(one.name)
            continue
        if isinstance(one, ast.Lambda):
            continue
        if isinstance(one, ast.AugAssign):  # changes what must be there
            left.append(one.value)
            continue
        if isinstance(one, _COMPREHENSIONS):
            names |= {inner.target.id for inner in nodes_of(one, ast.NamedExpr) if isinstance(inner.target, ast.Name)}
            continue
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load):
            names.add(one.id)
        elif isinstance(one, ast.alias):
            names.add((one.asname or one.name).partition(".")[0])
        elif isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and one.name:
            names.add(one.name)
        left += children(one)
    return names
