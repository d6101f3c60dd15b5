"""Runs a file abstractly: calls, into the project's functions and classes with what is known of their arguments."""

from __future__ import annotations

import ast
import dataclasses

from trainworthy.check.static.expressions import Expressions
from trainworthy.check.static.external import is_module, method_result, module_output, returned
from trainworthy.check.static.facts import Call, Load, With
from trainworthy.check.static.scope import Scope
from trainworthy.check.static.tensors import ACTIVATIONS, call_method
from trainworthy.check.static.tree import unparsed
from trainworthy.check.static.values import (
    UNKNOWN,
    WRAPPERS,
    Bound,
    Const,
    Entries,
    Function,
    Instance,
    Parameters,
    ProjectClass,
    Ref,
    Sequence,
    StateDict,
    Super,
    Tensor,
    Value,
    join,
)

_MAX_DEPTH = 5  # calls within calls
_MAX_WAYS = 3  # different arguments that one function is run with
_CALLS_A_MODULE = ("torch.nn.parallel.data_parallel", "torch.nn.parallel.data_parallel.data_parallel")


class Calls(Expressions):
    """Calls."""

    def of_call(self, node: ast.Call) -> Value:
        """Evaluate callee and arguments, write the call down, return what comes out."""
        callee, owner, method = self._callee(node.func)
        args: list[Value] = []
        starred = False
        for one in node.args:
            value = self.value(one)
            starred = starred or isinstance(one, ast.Starred)
            if not starred:
                args.append(value)
        keywords: dict[str, Value] = {}
        hidden: dict[str, Value] = {}
        for keyword in node.keywords:
            value = self.value(keyword.value)
            if keyword.arg is None:
                starred = True
                known = value.entries.values if isinstance(value, Sequence) and value.entries is not None else {}
                hidden |= {key: one for key, one in known.items() if isinstance(key, str)}
            else:
                keywords[keyword.arg] = value
        call = Call(node, "", owner, tuple(args), keywords, starred, self.context, self.tick(), hidden=hidden)
        self.facts.calls.append(call)
        call.result = self._apply(callee, method, call)
        return call.result

    def _callee(self, func: ast.expr) -> tuple[Value, Value, str]:
        """Return what is called, the object it belongs to, and the method's name."""
        if isinstance(func, ast.Attribute):
            owner = self.value(func.value)
            callee = UNKNOWN if owner is UNKNOWN else self.attribute(owner, func.attr)
            if isinstance(owner, Instance) and owner.type in WRAPPERS:
                self.facts.loads.append(Load(func, owner, callee, self.context, self.tick()))
            return callee, owner, func.attr
        callee = self.value(func)
        return callee, callee, ""

    def _apply(self, callee: Value, method: str, call: Call) -> Value:
        if isinstance(callee, Ref):
            return self._call_outside(callee, call)
        if isinstance(callee, Function):
            call.name = f"project.{callee.name}"
            bound = call.owner if isinstance(call.owner, Instance) and callee.owner is not None else None
            return self.run(callee, call, bound)
        if isinstance(callee, ProjectClass):
            call.name = f"project.{callee.node.name}"
            return self.construct(callee, call)
        if isinstance(callee, Bound):
            return self._call_bound(callee, call)
        if isinstance(callee, Instance):
            return self.call_instance(callee, call)
        call.name = f"?.{method}" if method else ""
        if method in ACTIVATIONS and call.owner is UNKNOWN and len(call.node.args) <= 1:
            # Only tensors have methods that are called so.
            return Tensor(dtype="float", activation=ACTIVATIONS[method], made_by=call)
        return StateDict(call.owner, call) if method == "state_dict" and not call.node.args else UNKNOWN

    def _call_outside(self, callee: Ref, call: Call) -> Value:
        call.name = callee.name
        if callee.name == "builtins.super":
            return self._super()
        if callee.name in _CALLS_A_MODULE and len(call.args) >= 2:
            return self._stepped(call.args[0], call, call.args[1:2])
        return returned(callee.name, call)

    def _super(self) -> Value:
        function = self.context.function
        if function is None or function.owner is None:
            return UNKNOWN
        first = function.node.args.args[0].arg if function.node.args.args else ""
        return Super(function.owner, self.scope.get(first) or UNKNOWN)

    def _call_bound(self, callee: Bound, call: Call) -> Value:
        owner, name = callee.owner, callee.name
        call.owner = owner
        if isinstance(owner, Super):
            return self._call_super(owner, name, call)
        if isinstance(owner, Instance):
            call.name = f"{owner.type or 'project'}.{name}"
            member = owner.cls.lookup(name) if owner.cls is not None else None
            if isinstance(member, Function):
                return self.run(member, call, owner)
            held = owner.attrs.get("")
            if name == "append" and owner.type == "torch.nn.ModuleList" and isinstance(held, Sequence) and call.args:
                owner.attrs[""] = held.appended(call.args[0])
            return method_result(owner, name, call)
        if isinstance(owner, Tensor):
            call.name = f"{owner.library}.{name}"
            return call_method(owner, name, call)
        if isinstance(owner, StateDict):
            call.name = f"state_dict.{name}"
            return owner if name == "copy" else UNKNOWN
        if isinstance(owner, ProjectClass):
            call.name = f"{owner.outside_base() or 'project'}.{name}"
            return UNKNOWN
        if isinstance(owner, Sequence):
            call.name = f"builtins.{owner.kind}.{name}"
            return self._call_container(owner, name, call)
        call.name = f"?.{name}"
        return UNKNOWN

    def _call_container(self, owner: Sequence, name: str, call: Call) -> Value:
        if owner.kind == "list" and name == "append" and call.args and isinstance(call.node.func, ast.Attribute):
            self._replace_list(call.node.func.value, owner.appended(call.args[0]))
        if owner.entries is None:
            return UNKNOWN
        if name in ("get", "pop") and call.args and isinstance(call.args[0], Const):
            return owner.entries.values.get(call.args[0].value, UNKNOWN)
        if name in ("update", "clear", "setdefault"):
            other = call.args[0] if len(call.args) == 1 else None
            if name == "update" and isinstance(other, Sequence) and other.entries is not None and not call.starred:
                owner.entries.values.update(other.entries.values)
            else:
                owner.entries.values.clear()
        return UNKNOWN

    def _replace_list(self, where: ast.expr, value: Value) -> None:
        """Bind a list that something was appended to: lists do not change here."""
        if isinstance(where, ast.Name):
            self.scope.replace(where.id, value)
        elif isinstance(where, ast.Attribute):
            holder = self.value(where.value)
            if isinstance(holder, Instance) and where.attr in holder.attrs:
                holder.attrs[where.attr] = value

    def _call_super(self, owner: Super, name: str, call: Call) -> Value:
        call.name = f"super.{name}"
        made = owner.owner.cls if isinstance(owner.owner, Instance) else None
        order = made.order() if made is not None and owner.cls in made.order() else owner.cls.order()
        for base in order[order.index(owner.cls) + 1 :]:
            member = base.members.get(name)
            if isinstance(member, Function):
                return self.run(member, call, owner.owner)
        return UNKNOWN

    def call_instance(self, owner: Instance, call: Call) -> Value:
        """Call an object: a module's forward, or its ``__call__``."""
        call.name = f"{owner.type or 'project'}.__call__"
        call.owner = owner
        if owner.cls is not None:
            for name in ("__call__", "forward"):
                member = owner.cls.lookup(name)
                if isinstance(member, Function):
                    return self.run(member, call, owner)
            return UNKNOWN
        if owner.type in WRAPPERS:
            return self._stepped(owner.attrs.get("module", UNKNOWN), call, call.args)
        if owner.type == "torch.nn.Sequential":
            return self._call_sequential(owner, call)
        return module_output(owner, call) if is_module(owner) else UNKNOWN

    def _stepped(self, inner: Value, call: Call, args: tuple[Value, ...]) -> Value:
        """Call what another object or function calls in its turn; what comes out was made by the inner one."""
        if not isinstance(inner, Instance):
            return UNKNOWN
        step = Call(call.node, "", inner, args, call.keywords, call.starred, call.context, call.at)
        result = self.call_instance(inner, step)
        call.function = call.function or step.function
        return result

    def _call_sequential(self, owner: Instance, call: Call) -> Value:
        held = owner.attrs.get("")
        items = held.items if isinstance(held, Sequence) else None
        if not items:
            return UNKNOWN
        value: Value = call.args[0] if call.args else UNKNOWN
        for item in items:
            if not isinstance(item, Instance):
                value = UNKNOWN
                continue
            step = Call(call.node, "", item, (value,), {}, False, call.context, call.at)
            value = self.call_instance(item, step)
        return value

    # --- the project's own ------------------------------------------------------------------------------------------

    def construct(self, cls: ProjectClass, call: Call | None) -> Instance:
        """Make an object of a class and run its ``__init__``."""
        made = Instance(type=cls.outside_base(), cls=cls, made_by=call)
        if cls.prototype is None:
            cls.prototype = made
        init = cls.lookup("__init__")
        if isinstance(init, Function):
            if call is None:
                self.run_uncalled(init, made)
            else:
                self.run(init, call, made)
        return made

    def prototype(self, cls: ProjectClass) -> Instance:
        """Return an object that stands for all of a class."""
        return cls.prototype or self.construct(cls, None)

    def run(self, function: Function, call: Call, bound: Value | None = None) -> Value:
        """Run a function with a call's arguments; results of the same arguments are kept."""
        node = function.node
        call.function = call.function or function
        ways = self.ways.setdefault(node, {})
        key = _key(function, call, bound)
        if key in ways:
            return _fresh(ways[key])
        known = list(ways.values())
        if (
            len(known) >= _MAX_WAYS
            or len(call.context.callers) >= _MAX_DEPTH
            or node in self.running
            or self.spent(function.source)
        ):
            return _joined(known) if known else UNKNOWN
        ways[key] = UNKNOWN  # while it runs: recursion
        self.called.add(node)
        scope = Scope(function.scope)
        self._bind_arguments(function, call, bound, scope)
        ways[key] = self._run_body(function, scope, call)
        return ways[key]

    def run_uncalled(self, function: Function, bound: Value | None = None) -> None:
        """Run a function that nothing calls: nothing is known of its arguments."""
        if function.node in self.running:
            return
        self.called.add(function.node)
        if bound is None and function.owner is not None:
            if function.name == "__init__" and function.owner.prototype is None:
                self.construct(function.owner, None)
                return
            bound = self.prototype(function.owner)
        scope = Scope(function.scope)
        arguments = function.node.args
        for arg in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            scope.names[arg.arg] = self._annotated(function, arg)
        if bound is not None and not _has(function, "staticmethod"):
            positional = [*arguments.posonlyargs, *arguments.args]
            if positional:
                scope.names[positional[0].arg] = _first_argument(function, bound)
        elif function.owner is not None and "self" in scope.names:
            scope.names["self"] = self.prototype(function.owner)  # handed on by hand, as processes need it
        self.left_over[function.node] = self._run_body(function, scope, None)

    def _run_body(self, function: Function, scope: Scope, call: Call | None) -> Value:
        arguments = function.node.args
        for extra in (arguments.vararg, arguments.kwarg):
            if extra is not None:
                scope.names[extra.arg] = UNKNOWN
        withs = tuple(With(one, function.node, self.name_of(one)) for one in function.decorators)
        self.running.add(function.node)
        try:
            with self.within_function(function, scope, call, withs) as results:
                if isinstance(function.node, ast.Lambda):
                    return self.value(function.node.body)
                self.block(function.node.body)
                return _joined(results)
        finally:
            self.running.discard(function.node)

    def block(self, statements: list[ast.stmt]) -> bool:
        """Run statements; the class of statements knows how."""
        raise NotImplementedError

    def _bind_arguments(self, function: Function, call: Call, bound: Value | None, scope: Scope) -> None:
        arguments = function.node.args
        positional = [*arguments.posonlyargs, *arguments.args]
        values = list(call.args)
        if _has(function, "classmethod"):
            values.insert(0, _asked_class(function, call, bound))
        elif bound is not None and not _has(function, "staticmethod"):
            values.insert(0, bound)
        defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
        for at, arg in enumerate(positional):
            given = values[at] if at < len(values) else call.keywords.get(arg.arg)
            scope.names[arg.arg] = self._given_or_default(given, defaults[at], call)
        for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            scope.names[arg.arg] = self._given_or_default(call.keywords.get(arg.arg), default, call)

    def _annotated(self, function: Function, arg: ast.arg) -> Value:
        """Return what an annotation says of an argument that nothing else is known of: a tensor, an own object."""
        named = arg.annotation
        if isinstance(named, ast.Name):
            found = self.looked_up(function.scope, named.id)
            if isinstance(found, ProjectClass):
                return self.prototype(found)
            return Tensor() if isinstance(found, Ref) and found.name == "torch.Tensor" else UNKNOWN
        return Tensor() if named is not None and unparsed(named) == "torch.Tensor" else UNKNOWN

    def _given_or_default(self, given: Value | None, default: ast.expr | None, call: Call) -> Value:
        if given is not None:
            return given
        if call.starred or not isinstance(default, ast.Constant):
            return UNKNOWN
        return Const(default.value)


def _has(function: Function, decorator: str) -> bool:
    return any(isinstance(one, Ref) and one.name == f"builtins.{decorator}" for one in function.decorators)


def _asked_class(function: Function, call: Call, bound: Value | None) -> Value:
    """Return what `cls` is in a class method: the class that it was asked of, which may descend from its own."""
    for one in (bound, call.owner):
        cls = one.cls if isinstance(one, Instance) else one
        if isinstance(cls, ProjectClass) and cls.lookup(function.name) is function:
            return cls
    return function.owner or UNKNOWN


def _first_argument(function: Function, bound: Value) -> Value:
    return function.owner or UNKNOWN if _has(function, "classmethod") else bound


def _joined(values: list[Value]) -> Value:
    if not values:
        return Const(None)
    result = values[0]
    for value in values[1:]:
        result = _join_tuples(result, value)
    return result


def _join_tuples(a: Value, b: Value) -> Value:
    if isinstance(a, Sequence) and isinstance(b, Sequence) and a.items is not None and b.items is not None:
        if a.kind == b.kind and len(a.items) == len(b.items):
            return Sequence(a.kind, tuple(join(m, n) for m, n in zip(a.items, b.items, strict=True)))
        return UNKNOWN
    return join(a, b)


def _key(function: Function, call: Call, bound: Value | None) -> tuple[object, ...]:
    asked = _asked_class(function, call, bound) if _has(function, "classmethod") else None
    values = [bound, asked, *call.args, *call.keywords.values()]
    return (id(function.scope), *[_value_key(one) for one in values], *call.keywords, _surroundings(call))


def _value_key(value: Value | None) -> object:
    if isinstance(value, Const):
        return (type(value.value), value.value)
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Sequence) and value.entries is not None:
        activations = {key: one.activation for key, one in value.entries.values.items() if isinstance(one, Tensor)}
        return ("dict", *sorted((str(key), one) for key, one in activations.items() if one is not None))
    return id(value) if isinstance(value, Instance | Function | ProjectClass | Parameters) else type(value)


def _fresh(value: Value) -> Value:
    """Return a dict of its own to each caller of a function that makes one."""
    if isinstance(value, Sequence) and value.entries is not None:
        return dataclasses.replace(value, entries=Entries(dict(value.entries.values)))
    return value


def _surroundings(call: Call) -> object:
    return (call.context.in_loop, *sorted({one.name for one in call.context.withs if one.name}))
