"""Runs a file abstractly: statements. Every path is walked once, a loop as its first turn; what is met is noted."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import ClassVar

from trainworthy.check.static.calls import Calls
from trainworthy.check.static.facts import Iteration, Store, With
from trainworthy.check.static.scope import Scope, join_names
from trainworthy.check.static.source import Source
from trainworthy.check.static.state import ALWAYS_OUTSIDE
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import (
    UNKNOWN,
    Const,
    Function,
    Instance,
    Later,
    ProjectClass,
    Sequence,
    Value,
    join,
)

_MAX_MODULES = 80  # whose top level is run for one file


class Interpreter(Calls):
    """The statements; expressions and calls are in the classes below it."""

    def run_module(self, source: Source) -> None:
        """Run a file: its top level, then every function that nothing called."""
        scope = self.module_scope(source)
        self._run_left_over(scope)

    def module_scope(self, source: Source) -> Scope:
        """Return the names of a module, running its top level the first time."""
        known = self.modules.get(source)
        if known is not None:
            return known
        scope = Scope()
        if len(self.modules) > _MAX_MODULES or self.spent(source):
            return scope
        self.modules[source] = scope
        with self.within(source=source, scope=scope):
            self.block(source.tree.body)
        return scope

    def _run_left_over(self, scope: Scope) -> None:
        main = self.main
        at = 0
        while at < len(self.functions) and self.budget > 0:  # running some may define more
            function = self.functions[at]
            at += 1
            if function.source is main and function.node not in self.called:
                self.run_uncalled(function)
        for cls in [one for one in self.classes if one.source is main]:
            for function in cls.inherited_around_overridden():
                if self.budget > 0:
                    before = self.left_over.get(function.node)
                    self.run_uncalled(function, self.prototype(cls))
                    self.left_over[function.node] = before or UNKNOWN

    # --- statements -------------------------------------------------------------------------------------------------

    def block(self, statements: list[ast.stmt]) -> bool:
        """Run statements; return whether control comes out at the end."""
        handlers, own = self._statements, self.context.source is self.main
        for statement in statements:
            if own:
                self.budget -= 1
            else:
                self.budget_elsewhere -= 1
            handler = handlers.get(type(statement))
            if handler is not None and handler(self, statement) is False:
                return False
        return True

    def do_expr(self, node: ast.Expr) -> None:
        """Evaluate for what it does."""
        self.value(node.value)

    def do_assign(self, node: ast.Assign) -> None:
        """Bind every target."""
        value = self.value(node.value)
        for target in node.targets:
            self.bind(target, value, node)

    def do_annassign(self, node: ast.AnnAssign) -> None:
        """Bind if there is a value."""
        if node.value is not None:
            self.bind(node.target, self.value(node.value), node)

    def do_augassign(self, node: ast.AugAssign) -> None:
        """Operate, then bind."""
        left = self.value(node.target)
        right = self.value(node.value)
        result = self.operate(node, node.op, left, right)
        self.bind(node.target, result, node)

    def bind(self, target: ast.expr, value: Value, statement: ast.stmt) -> None:
        """Bind a target of an assignment."""
        if isinstance(target, ast.Name):
            self.scope.set(target.id, value)
            self.note_store(statement, target, None, value)
        elif isinstance(target, ast.Attribute):
            owner = self.value(target.value)
            self._bind_attribute(owner, target.attr, value)
            self.note_store(statement, target, owner, value)
        elif isinstance(target, ast.Subscript):
            owner = self.value(target.value)
            self._put(owner, self.value(target.slice), value)
            self.note_store(statement, target, owner, value)
        elif isinstance(target, ast.Tuple | ast.List):
            self._unpack(target, value, statement)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, UNKNOWN, statement)

    def _bind_attribute(self, owner: Value, name: str, value: Value) -> None:
        if isinstance(owner, Function):
            owner.attrs[name] = join(owner.attrs[name], value) if name in owner.attrs else value
        elif isinstance(owner, Instance):
            old = owner.attrs.get(name)
            function = self.context.function
            # Attributes are not kept apart by branch, so what two branches set is what they have in common.
            surely = function is not None and function.name == "__init__" and not self.context.branches
            owner.attrs[name] = value if old is None or surely else join(old, value)

    def _put(self, owner: Value, key: Value, value: Value) -> None:
        """Put a value into a dict; under a key that is not known it may replace any."""
        entries = owner.entries if isinstance(owner, Sequence) else None
        if entries is None:
            return
        if not isinstance(key, Const):
            entries.values.clear()
            return
        old = entries.values.get(key.value)
        sure = not self.context.branches and not self.context.loops
        entries.values[key.value] = value if old is None or sure else join(old, value)

    def _unpack(self, target: ast.Tuple | ast.List, value: Value, statement: ast.stmt) -> None:
        items: tuple[Value, ...] | None = None
        if isinstance(value, Sequence) and value.items is not None and value.kind in ("list", "tuple"):
            items = value.items
        starred = any(isinstance(one, ast.Starred) for one in target.elts)
        fits = items is not None and len(items) == len(target.elts) and not starred
        for at, one in enumerate(target.elts):
            self.bind(one, items[at] if fits and items is not None else UNKNOWN, statement)

    def note_store(self, node: ast.stmt, target: ast.expr, owner: Value | None, value: Value) -> None:
        """Write an assignment down."""
        self.facts.stores.append(Store(node, target, owner, value, self.context, self.tick()))

    def do_return(self, node: ast.Return) -> bool:
        """Leave the function."""
        value = self.value(node.value) if node.value is not None else Const(None)
        self.returns.append(value)
        return False

    def do_raise(self, node: ast.Raise) -> bool:
        """Leave by an exception."""
        for part in (node.exc, node.cause):
            if part is not None:
                self.value(part)
        return False

    def do_jump(self, node: ast.stmt) -> bool:
        """Leave the loop's turn."""
        return False

    def do_if(self, node: ast.If) -> bool:
        """Run both branches from the same start and join them."""
        test = self.value(node.test)
        known = test.value if isinstance(test, Const) and isinstance(node.test, ast.Constant) else None
        if known is not None:
            return self.block(node.body if known else node.orelse)
        before = self.scope.names
        self.scope.names = dict(before)
        with self.within(branch=(node.test, True)):
            through_body = self.block(node.body)
        after_body = self.scope.names
        self.scope.names = dict(before)
        with self.within(branch=(node.test, False)):
            through_else = self.block(node.orelse)
        after_else = self.scope.names
        if through_body and through_else:
            joined = join_names(after_body, after_else)
        else:
            joined = after_body if through_body else after_else
        self._replace_names(before, joined)
        return through_body or through_else

    def _replace_names(self, names: dict[str, Value], new: dict[str, Value]) -> None:
        # Closures hold the scope, but the dict too is kept: class bodies and modules are shared by it.
        names.clear()
        names.update(new)
        self.scope.names = names

    def do_for(self, node: ast.For | ast.AsyncFor) -> bool:
        """Run the first turn, and go on as if there were none or one."""
        iterable = self.value(node.iter)
        self.facts.iterations.append(Iteration(node, iterable, self.context, self.tick()))
        before = dict(self.scope.names)
        with self.within(loop=node):
            self.bind(node.target, self.element(iterable), node)
            self.block(node.body)
        self._replace_names(self.scope.names, join_names(before, self.scope.names))
        self.block(node.orelse)
        return True

    def do_while(self, node: ast.While) -> bool:
        """As ``for``."""
        before = dict(self.scope.names)
        with self.within(loop=node):
            self.value(node.test)
            self.block(node.body)
        self._replace_names(self.scope.names, join_names(before, self.scope.names))
        self.block(node.orelse)
        return True

    def do_with(self, node: ast.With | ast.AsyncWith) -> bool:
        """Run the body under the contexts."""
        opened = []
        for item in node.items:
            value = self.value(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, self.entered(value), node)
            opened.append(With(value, item.context_expr, self.name_of(value)))
        with self.within(withs=tuple(opened)):
            return self.block(node.body)

    def do_try(self, node: ast.Try) -> bool:
        """The body may have stopped anywhere when a handler runs."""
        before = dict(self.scope.names)
        through = self.block(node.body) and self.block(node.orelse)
        after = dict(self.scope.names)
        outs = [after] if through else []
        for handler in node.handlers:
            self._replace_names(self.scope.names, join_names(before, after))
            if handler.type is not None:
                self.value(handler.type)
            if handler.name:
                self.scope.set(handler.name, UNKNOWN)
            if self.block(handler.body):
                outs.append(dict(self.scope.names))
        joined = outs[0] if outs else join_names(before, after)
        for out in outs[1:]:
            joined = join_names(joined, out)
        self._replace_names(self.scope.names, joined)
        through_end = self.block(node.finalbody)
        return bool(outs) and through_end

    def do_match(self, node: ast.Match) -> bool:
        """Run every case from the same start."""
        self.value(node.subject)
        before = dict(self.scope.names)
        joined = before
        for case in node.cases:
            self._replace_names(self.scope.names, before)
            for part in walk(case.pattern):
                name = getattr(part, "name", None) or getattr(part, "rest", None)
                if isinstance(name, str):
                    self.scope.set(name, UNKNOWN)
            if self.block(case.body):
                joined = join_names(joined, dict(self.scope.names))
        self._replace_names(self.scope.names, joined)
        return True

    # --- definitions ------------------------------------------------------------------------------------------------

    def do_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        """Bind a function; its body is run when it is called, or at the end."""
        decorators = tuple(self.value(one) for one in node.decorator_list)
        for default in [*node.args.defaults, *node.args.kw_defaults]:
            if default is not None and not isinstance(default, ast.Constant):
                self.value(default)
        owner = self.defining_class
        function = Function(self.context.source, node, self.closure(), owner, decorators)
        self.functions.append(function)
        self.scope.set(node.name, function)

    def do_class(self, node: ast.ClassDef) -> None:
        """Run the body in a scope of its own."""
        # `Base[T]` descends from Base.
        bases = tuple(self.value(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases)
        for keyword in node.keywords:
            self.value(keyword.value)
        for one in node.decorator_list:
            self.value(one)
        members: dict[str, Value] = {}
        made = ProjectClass(self.context.source, node, bases, members)
        self.scope.set(node.name, made)
        scope = Scope(self.closure(), members)
        with self.within(scope=scope, defining=made):
            self.block(node.body)
        self.classes.append(made)

    def do_global(self, node: ast.Global) -> None:
        """Bind outside."""
        for name in node.names:
            self.scope.declare_global(name)

    def do_nonlocal(self, node: ast.Nonlocal) -> None:
        """Bind around."""
        for name in node.names:
            self.scope.declare_nonlocal(name)

    def do_delete(self, node: ast.Delete) -> None:
        """Forget names."""
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.scope.names.pop(target.id, None)

    def do_assert(self, node: ast.Assert) -> None:
        """Evaluate both parts."""
        self.value(node.test)
        if node.msg is not None:
            self.value(node.msg)

    # --- imports ----------------------------------------------------------------------------------------------------

    def do_import(self, node: ast.Import) -> None:
        """Bind modules."""
        for alias in node.names:
            top = alias.name.partition(".")[0]
            name = alias.name if alias.asname else top
            self.scope.set(alias.asname or top, self.imported(name, level=0))

    def do_import_from(self, node: ast.ImportFrom) -> None:
        """Bind names of a module; what they are is found out when they are used."""
        module, importer = node.module or "", self.context.source
        outside = not node.level and module.partition(".")[0] in ALWAYS_OUTSIDE
        for alias in node.names:
            if outside:
                self.scope.set(alias.asname or alias.name, self.outside(f"{module}.{alias.name}"))
            elif alias.name == "*":
                self._import_star(self.project.find(module, importer=importer.path, level=node.level))
            else:
                self.scope.set(alias.asname or alias.name, Later(importer, module, alias.name, node.level))

    def imported_member(self, later: Later) -> Value:
        """Return what ``from module import name`` binds."""
        path, module, name = later.importer.path, later.module, later.name
        source = self.project.find(module, importer=path, level=later.level)
        if source is not None:
            value = self.looked_up(self.module_scope(source), name)
            if value is not None:
                return value
        inner = self.project.find(f"{module}.{name}" if module else name, importer=path, level=later.level)
        if inner is not None:
            return self.module_value(inner)
        if source is not None or later.level:
            return UNKNOWN
        return self.outside(f"{module}.{name}")

    def _import_star(self, source: Source | None) -> None:
        if source is not None:
            for name, value in self.module_scope(source).names.items():
                if not name.startswith("_"):
                    self.scope.set(name, value)

    _statements: ClassVar[dict[type[ast.stmt], Callable[..., bool | None]]] = {
        ast.Expr: do_expr,
        ast.Assign: do_assign,
        ast.AnnAssign: do_annassign,
        ast.AugAssign: do_augassign,
        ast.Return: do_return,
        ast.Raise: do_raise,
        ast.Break: do_jump,
        ast.Continue: do_jump,
        ast.If: do_if,
        ast.For: do_for,
        ast.AsyncFor: do_for,
        ast.While: do_while,
        ast.With: do_with,
        ast.AsyncWith: do_with,
        ast.Try: do_try,
        ast.Match: do_match,
        ast.FunctionDef: do_function,
        ast.AsyncFunctionDef: do_function,
        ast.ClassDef: do_class,
        ast.Global: do_global,
        ast.Nonlocal: do_nonlocal,
        ast.Delete: do_delete,
        ast.Assert: do_assert,
        ast.Import: do_import,
        ast.ImportFrom: do_import_from,
    }
    if hasattr(ast, "TryStar"):
        _statements[ast.TryStar] = do_try
