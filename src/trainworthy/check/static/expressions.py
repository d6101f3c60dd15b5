"""Runs a file abstractly: expressions. Each is evaluated once wherever it stands."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import ClassVar

from trainworthy.check.static.external import attribute_of_object
from trainworthy.check.static.facts import Iteration, Load, Operation
from trainworthy.check.static.scope import Scope
from trainworthy.check.static.source import Source
from trainworthy.check.static.state import State
from trainworthy.check.static.tensors import attribute_of_tensor, binary, compared, indexed
from trainworthy.check.static.values import (
    UNKNOWN,
    Bound,
    Const,
    Entries,
    EnvText,
    Function,
    Instance,
    Later,
    Module,
    ProjectClass,
    Ref,
    Sequence,
    StateDict,
    Super,
    Tensor,
    Value,
    join,
)

_BUILTINS = frozenset(
    "int float str bool list tuple set dict len range enumerate zip iter next sum max min abs print isinstance hasattr "
    "getattr setattr super staticmethod classmethod property sorted reversed map filter any all open id type round "
    "eval exec input vars".split()
)
_CONTAINERS = {ast.List: "list", ast.Tuple: "tuple", ast.Set: "set"}


class Expressions(State):
    """The expressions but calls."""

    def value(self, node: ast.expr) -> Value:
        """Evaluate an expression."""
        handler = self._expressions.get(type(node))
        return UNKNOWN if handler is None else handler(self, node)

    def of_name(self, node: ast.Name) -> Value:
        """Look it up; builtins that nobody hid are outside."""
        found = self.looked_up(self.scope, node.id)
        if found is not None:
            return found
        return Ref(f"builtins.{node.id}") if node.id in _BUILTINS else UNKNOWN

    def looked_up(self, scope: Scope, name: str) -> Value | None:
        """Look a name up in a scope; an import is followed now."""
        found = scope.get(name)
        if isinstance(found, Later):
            scope.replace(name, UNKNOWN)  # modules that import each other
            found = self.imported_member(found)
            scope.replace(name, found)
        return found

    def imported_member(self, later: Later) -> Value:
        """Return what an import binds; the statements know how."""
        raise NotImplementedError

    def of_constant(self, node: ast.Constant) -> Value:
        """A literal; what stands in a tree is read again for every file that leads to it."""
        kept = node.__dict__
        if "_literal" not in kept:
            kept["_literal"] = Const(node.value)
        found: Const = kept["_literal"]
        return found

    def of_attribute(self, node: ast.Attribute) -> Value:
        """An attribute of what is known."""
        owner = self.value(node.value)
        if owner is UNKNOWN:
            return UNKNOWN
        result = self.attribute(owner, node.attr)
        if not isinstance(owner, Ref):
            self.facts.loads.append(Load(node, owner, result, self.context, self.tick()))
        return result

    def attribute(self, owner: Value, name: str) -> Value:
        """Return ``owner.name``."""
        if isinstance(owner, Ref):
            return self.outside(f"{owner.name}.{name}")
        if isinstance(owner, Instance):
            return self._attribute_of_instance(owner, name)
        if isinstance(owner, Module):
            return self._attribute_of_module(owner, name)
        if isinstance(owner, Function):
            return owner.attrs.get(name, UNKNOWN)
        if isinstance(owner, ProjectClass):
            return owner.lookup(name) or Bound(owner, name)
        if isinstance(owner, Tensor):
            return attribute_of_tensor(owner, name) or Bound(owner, name)
        if isinstance(owner, Const) and owner.value is None:
            return UNKNOWN  # a placeholder: it is set where this analysis does not see it
        if isinstance(owner, Sequence | StateDict | Const | EnvText | Super):
            return Bound(owner, name)
        return UNKNOWN

    def _attribute_of_instance(self, owner: Instance, name: str) -> Value:
        known = owner.attrs.get(name)
        if known is not None:
            return known
        if owner.cls is not None:
            member = owner.cls.lookup(name)
            if isinstance(member, Function):
                if any(getattr(one, "name", "") in _PROPERTIES for one in member.decorators):
                    return owner.attrs.get(_returned_attribute(member), UNKNOWN)
                return Bound(owner, name)
            if member is not None:
                return member
        return attribute_of_object(owner, name) or Bound(owner, name)

    def _attribute_of_module(self, owner: Module, name: str) -> Value:
        found = self.looked_up(self.module_scope(owner.source), name)
        if found is not None:
            return found
        if owner.name:
            return self.imported(f"{owner.name}.{name}", level=0)
        return UNKNOWN

    def module_scope(self, source: Source) -> Scope:
        """Return the names of a module; the statements know how."""
        raise NotImplementedError

    def of_subscript(self, node: ast.Subscript) -> Value:
        """An item or slice."""
        owner = self.value(node.value)
        index = self.value(node.slice)
        if isinstance(owner, Ref) and owner.name == "os.environ":
            return EnvText(str(index.value)) if isinstance(index, Const) else UNKNOWN
        if isinstance(owner, Tensor):
            return indexed(owner, node.slice, index)
        items = owner.items if isinstance(owner, Sequence) and owner.kind in ("list", "tuple") else None
        if isinstance(owner, Instance) and owner.type in _LAYER_LISTS:
            held = owner.attrs.get("")
            items = held.items if isinstance(held, Sequence) else None
        if isinstance(owner, Sequence) and owner.entries is not None and isinstance(index, Const):
            return owner.entries.values.get(index.value, UNKNOWN)
        if items and isinstance(index, Const) and isinstance(index.value, int) and abs(index.value) < len(items):
            return items[index.value]
        return UNKNOWN

    def of_slice(self, node: ast.Slice) -> Value:
        """A slice's parts."""
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                self.value(part)
        return UNKNOWN

    def of_container(self, node: ast.List | ast.Tuple | ast.Set) -> Value:
        """A list, tuple or set."""
        items = tuple([self.value(one) for one in node.elts])
        starred = any(isinstance(one, ast.Starred) for one in node.elts)
        kind = _CONTAINERS[type(node)]
        return Sequence(kind, None if starred else items, node)  # type: ignore[arg-type]

    def of_dict(self, node: ast.Dict) -> Value:
        """A dict; its values are kept in order, and by literal keys."""
        keys = [None if key is None else self.value(key) for key in node.keys]
        items = tuple([self.value(one) for one in node.values])
        entries = {key.value: value for key, value in zip(keys, items, strict=True) if isinstance(key, Const)}
        return Sequence("dict", items if None not in node.keys else None, node, entries=Entries(entries))

    def of_starred(self, node: ast.Starred) -> Value:
        """Evaluate what is unpacked."""
        self.value(node.value)
        return UNKNOWN

    def of_comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value:
        """One turn, in a scope of its own."""
        outer = self.scope
        self.scope = Scope(outer)
        context = self.context
        try:
            for generator in node.generators:
                iterable = self.value(generator.iter)
                self.facts.iterations.append(Iteration(generator, iterable, self.context, self.tick()))
                self.context = self.context.inside(loop=generator)
                self._bind_name(generator.target, self.element(iterable))
                for condition in generator.ifs:
                    self.value(condition)
            if isinstance(node, ast.DictComp):
                self.value(node.key)
                element = self.value(node.value)
            else:
                element = self.value(node.elt)
        finally:
            self.scope, self.context = outer, context
        kind = {ast.ListComp: "list", ast.SetComp: "set", ast.DictComp: "dict"}.get(type(node), "list")
        self.elements[node] = element
        return Sequence(kind, None, node, element)  # type: ignore[arg-type]

    def _bind_name(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.scope.set(target.id, value)
        elif isinstance(target, ast.Tuple | ast.List):
            items = value.items if isinstance(value, Sequence) and value.items is not None else ()
            fits = len(items) == len(target.elts)
            for at, one in enumerate(target.elts):
                self._bind_name(one, items[at] if fits else UNKNOWN)

    def element(self, iterable: Value) -> Value:
        """Return what the first turn of a loop over ``iterable`` gets."""
        if isinstance(iterable, Sequence):
            if iterable.items and iterable.kind in ("list", "tuple"):
                return iterable.items[0]
            if iterable.items is None and iterable.kind == "list" and iterable.element is not None:
                return iterable.element
        if isinstance(iterable, Instance):
            inner = iterable.attrs.get("")
            if iterable.type == "builtins.enumerate" and inner is not None:
                return Sequence("tuple", (UNKNOWN, self.element(inner)))
            if iterable.type in _LAYER_LISTS and isinstance(inner, Sequence):
                return self.element(inner)
            if iterable.type in _PASS_ON and inner is not None:
                return self.element(inner)
        return UNKNOWN

    def of_binop(self, node: ast.BinOp) -> Value:
        """An arithmetic operator."""
        return self.operate(node, node.op, self.value(node.left), self.value(node.right))

    def operate(self, node: ast.BinOp | ast.AugAssign, op: ast.operator, left: Value, right: Value) -> Value:
        """Apply an operator, and write it down if it is about tensors."""
        result = _repeated(node, op, left, right) or _joined_masks(node, op, left, right) or binary(op, left, right)
        if left is not UNKNOWN or right is not UNKNOWN:
            self.facts.operations.append(Operation(node, (left, right), result, self.context, self.tick()))
        return result

    def of_boolop(self, node: ast.BoolOp) -> Value:
        """``and`` and ``or``."""
        operands = tuple([self.value(one) for one in node.values])
        self.facts.operations.append(Operation(node, operands, UNKNOWN, self.context, self.tick()))
        joined = operands[0]
        for one in operands[1:]:
            joined = join(joined, one)
        return joined if isinstance(joined, Instance) else UNKNOWN

    def of_unaryop(self, node: ast.UnaryOp) -> Value:
        """``-``, ``not``, ``~``."""
        operand = self.value(node.operand)
        if isinstance(operand, Const) and isinstance(node.op, ast.USub) and isinstance(operand.value, int | float):
            return Const(-operand.value)
        if isinstance(node.op, ast.Not):
            self.facts.operations.append(Operation(node, (operand,), UNKNOWN, self.context, self.tick()))
            return UNKNOWN
        if isinstance(operand, Tensor):
            return Tensor(library=operand.library, shape=operand.shape, dtype=operand.dtype, loss=operand.loss)
        return UNKNOWN

    def of_compare(self, node: ast.Compare) -> Value:
        """A comparison; of tensors it is a tensor."""
        operands = (self.value(node.left), *[self.value(one) for one in node.comparators])
        identity = all(isinstance(one, ast.Is | ast.IsNot | ast.In | ast.NotIn) for one in node.ops)
        result = UNKNOWN if identity else compared(operands)
        self.facts.operations.append(Operation(node, operands, result, self.context, self.tick()))
        return result

    def of_ifexp(self, node: ast.IfExp) -> Value:
        """Either."""
        self.value(node.test)
        return join(self.value(node.body), self.value(node.orelse))

    def of_lambda(self, node: ast.Lambda) -> Value:
        """A function without a name; its body is run at once, too, with nothing known."""
        function = Function(self.context.source, node, self.closure())
        scope = Scope(self.closure())
        for arg in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            scope.names[arg.arg] = UNKNOWN
        with self.within_function(function, scope, None, ()):
            self.value(node.body)
        return function

    def of_walrus(self, node: ast.NamedExpr) -> Value:
        """Bind and return."""
        value = self.value(node.value)
        self.scope.set(node.target.id, value)
        return value

    def of_fstring(self, node: ast.JoinedStr) -> Value:
        """Text of which nothing is known."""
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                self.value(part.value)
        return UNKNOWN

    def of_inner(self, node: ast.Await | ast.YieldFrom | ast.Yield) -> Value:
        """Evaluate what is inside."""
        if node.value is not None:
            self.value(node.value)
        return UNKNOWN

    def of_call(self, node: ast.Call) -> Value:
        """A call."""
        raise NotImplementedError

    _expressions: ClassVar[dict[type[ast.expr], Callable[..., Value]]] = {
        ast.Name: of_name,
        ast.Constant: of_constant,
        ast.Attribute: of_attribute,
        ast.Subscript: of_subscript,
        ast.Slice: of_slice,
        ast.List: of_container,
        ast.Tuple: of_container,
        ast.Set: of_container,
        ast.Dict: of_dict,
        ast.Starred: of_starred,
        ast.ListComp: of_comprehension,
        ast.SetComp: of_comprehension,
        ast.GeneratorExp: of_comprehension,
        ast.DictComp: of_comprehension,
        ast.BinOp: of_binop,
        ast.BoolOp: of_boolop,
        ast.UnaryOp: of_unaryop,
        ast.Compare: of_compare,
        ast.IfExp: of_ifexp,
        ast.Lambda: of_lambda,
        ast.NamedExpr: of_walrus,
        ast.JoinedStr: of_fstring,
        ast.Await: of_inner,
        ast.Yield: of_inner,
        ast.YieldFrom: of_inner,
        ast.Call: lambda self, node: self.of_call(node),
    }


def _returned_attribute(function: Function) -> str:
    """Name the attribute that a property returns as it is; "" if it does anything else."""
    body = [
        one
        for one in getattr(function.node, "body", [])
        if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
    ]
    value = body[0].value if len(body) == 1 and isinstance(body[0], ast.Return) else None
    return value.attr if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name) else ""


_PROPERTIES = frozenset({"builtins.property", "functools.cached_property"})
_LAYER_LISTS = frozenset({"torch.nn.ModuleList", "torch.nn.Sequential"})
_PASS_ON = frozenset({"tqdm.tqdm", "tqdm.auto.tqdm", "tqdm.trange", "tqdm.notebook.tqdm", "builtins.reversed"})


def _joined_masks(node: ast.BinOp | ast.AugAssign, op: ast.operator, left: Value, right: Value) -> Value | None:
    """Return what comes out where a comparison of anything is added to a tensor of bools: bools again."""
    second = node.value if isinstance(node, ast.AugAssign) else node.right
    of_bools = isinstance(left, Tensor) and left.dtype == "bool" and isinstance(op, ast.Add)
    compares = isinstance(second, ast.Compare) and right is UNKNOWN
    return Tensor(library=left.library, dtype="bool") if of_bools and compares and isinstance(left, Tensor) else None


def _repeated(node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value | None:
    """Return ``[x] * n``: a list of unknown length whose element is known."""
    for one, other in ((left, right), (right, left)):
        if not isinstance(op, ast.Mult) or not isinstance(one, Sequence) or isinstance(other, Sequence | Tensor):
            continue
        if one.items is not None and len(one.items) == 1 and one.kind in ("list", "tuple"):
            return Sequence(one.kind, None, node, one.items[0])
    return None
