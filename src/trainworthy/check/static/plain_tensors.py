"""Tensors that a module keeps as plain attributes: which these are, and what its methods do with them."""

from __future__ import annotations

import ast
import re
from typing import Literal, TypeGuard

from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Store
from trainworthy.check.static.libraries import is_usual_name, library_of
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import children, nodes_of, own, unparsed, walk
from trainworthy.check.static.values import UNKNOWN, Const, Function, Instance, ProjectClass, Tensor, Value

_Body = ast.FunctionDef | ast.AsyncFunctionDef
_CLASSES = ("torch.Tensor", "torch.FloatTensor", "torch.LongTensor")
_ELEMENTWISE = frozenset(f"torch.{name}" for name in "sqrt rsqrt exp log abs square".split())
# What takes a tensor elsewhere, or only its numbers.
MOVES = frozenset("to cuda type_as device dtype cpu numpy tolist item new_tensor requires_grad_ data".split())
_ASKED_ONLY = frozenset({"device", "dtype"})  # which others are to have
_ASKS = frozenset("shape size dim ndim numel is_cuda".split())
_VIEWS = frozenset(
    "expand expand_as repeat view reshape unsqueeze squeeze flatten transpose permute t T contiguous clone detach "
    "float long half bool int double clamp exp log abs sqrt softmax sigmoid tanh pow neg".split()
)
_TORCH = ("torch.", "F.", "functional.", "nn.functional.")
# Methods of tensors that compute with another one.
_WITH_ANOTHER = frozenset(
    "matmul mm bmm mul add sub div dot where masked_fill masked_fill_ index_select gather scatter scatter_ scatter_add "
    "addmm baddbmm eq ne gt ge lt le maximum minimum mul_ add_ sub_ div_ masked_select index_add_ lerp".split()
)
_DRAWS = frozenset("rand randn randperm randint normal bernoulli multinomial rand_like randn_like".split())
_DRAWS_IN_PLACE = frozenset("normal_ uniform_ bernoulli_ random_ exponential_".split())


def is_plain_tensor(store: Store) -> bool:
    """Say whether what is stored is surely a tensor of torch's that nobody has placed on a device."""
    value, source = store.value, getattr(store.node, "value", None)
    raw = isinstance(value, Instance) and value.type in _CLASSES
    tensor = isinstance(value, Tensor) and value.library == "torch.Tensor"
    if source is None:
        return False
    made_so = _made_by_an_initialiser(store) or _is_chosen_by_name(store, source) or _is_made_in(store, source)
    if not (raw or tensor or made_so):
        return False
    if _is_part_of_another(source):
        return False
    made = value.made_by if isinstance(value, Tensor) else None
    if made is not None and (made.has(None, "device") or any(_is_placed(one) for one in walk(made.node))):
        return False
    return not _is_one_number(value) and not any(_is_placed(one) for one in walk(source))


def _is_part_of_another(node: ast.AST) -> bool:
    """Say whether an expression is a view or function of another attribute, which may be on any device."""
    while isinstance(node, ast.Call | ast.Subscript):
        func = node.func if isinstance(node, ast.Call) else None
        if func is None:
            node = node.value  # type: ignore[union-attr]
        elif isinstance(func, ast.Attribute) and not is_usual_name(func.value):
            node = func.value
        elif isinstance(func, ast.Attribute) and func.attr in _VIEWS and isinstance(node, ast.Call) and node.args:
            node = node.args[0]
        else:
            return False
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self"


def _is_placed(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg == "device"
    if isinstance(node, ast.Attribute):
        of_torch = isinstance(node.value, ast.Name) and node.value.id == "torch"
        return not of_torch and node.attr in (*MOVES, *_ASKS, "Parameter", "Buffer") and node.attr != "dtype"
    return getattr(node, "id", "") in ("Parameter", "Buffer")


def _is_one_number(value: Value) -> bool:
    """Say whether a tensor has no axes: one number, known from the program, or a function of such a tensor."""
    call = value.made_by if isinstance(value, Tensor) else None
    first = call.args[0] if call is not None and call.args else None
    if call is None or first is None or len(call.args) > 1:
        return False
    if isinstance(first, Const):
        return call.name in ("torch.tensor", "torch.as_tensor") and isinstance(first.value, int | float)
    return call.name in _ELEMENTWISE and _is_one_number(first)


def _made_by_an_initialiser(store: Store) -> bool:
    """Say whether a function named for initialising gets a fresh tensor, which it fills and returns."""
    node = getattr(store.node, "value", None)
    if store.value is not UNKNOWN or not isinstance(node, ast.Call) or "init" not in last_name(node.func).lower():
        return False
    first = node.args[0] if node.args else None
    return isinstance(first, ast.Call) and unparsed(first.func) in ("torch.empty", "torch.zeros", "torch.Tensor")


def _is_made_in(store: Store, node: ast.expr | None) -> bool:
    """Say whether an expression is a view, or filled in place, of what torch makes there: ``torch.Tensor(x)[None]``."""
    at = node
    while isinstance(at, ast.Call | ast.Subscript):
        inner = at.value if isinstance(at, ast.Subscript) else at.func
        if isinstance(at, ast.Call) and library_of(store.context.source, getattr(inner, "value", at)) == "torch":
            return at is not node and isinstance(inner, ast.Attribute) and inner.attr in _MAKERS
        if isinstance(at, ast.Subscript):
            if not _keeps_axes(at.slice):
                return False
        elif not isinstance(inner, ast.Attribute) or inner.attr not in _VIEWS | _FILLS:
            return False
        at = inner.value if isinstance(at, ast.Call) and isinstance(inner, ast.Attribute) else inner
    return False


_MAKERS = frozenset(
    "Tensor FloatTensor LongTensor tensor as_tensor from_numpy zeros ones full empty arange linspace eye".split()
)


def _is_chosen_by_name(store: Store, node: ast.expr) -> bool:
    """Say whether a function of torch is chosen by its name and called: `getattr(torch, window)(length)`."""
    func = node.func if isinstance(node, ast.Call) else None
    if not isinstance(node, ast.Call) or not isinstance(func, ast.Call) or last_name(func.func) != "getattr":
        return False
    of = func.args[0] if func.args and node.args else None
    return of is not None and (unparsed(of) == "torch" or library_of(store.context.source, of) == "torch")


def draw_in(source: Source, node: ast.expr) -> ast.Call | None:
    """Return the call that draws the random numbers that a plain tensor is; None if none does, or it is seeded."""
    if isinstance(node, ast.BinOp):
        return draw_in(source, node.left) or draw_in(source, node.right)
    if isinstance(node, ast.Subscript):
        return draw_in(source, node.value)
    func = node.func if isinstance(node, ast.Call) else None
    if not isinstance(node, ast.Call) or not isinstance(func, ast.Attribute):
        return None
    if any(one.arg in ("generator", "requires_grad") for one in node.keywords):
        return None
    of_torch = library_of(source, func.value) == "torch"
    if (func.attr in _DRAWS and of_torch) or (func.attr in _DRAWS_IN_PLACE and isinstance(func.value, ast.Call)):
        return node
    return draw_in(source, node.args[0] if of_torch and node.args else func.value)


class Uses:
    """What the methods of a module do with an attribute that is a plain tensor."""

    def __init__(self, analysis: Analysis, cls: ProjectClass, name: str) -> None:
        self._analysis, self._name = analysis, name
        self._functions = analysis.call_at
        self._methods = [one for one in cls.node.body if isinstance(one, _Body)]

    def computes(self) -> ast.AST | None:
        """Return an operation with it as it is, in a method other than ``__init__``; None also if it is ever moved."""
        use: ast.AST | None = None
        for method in self._methods:
            if method.name in ("_apply", "to", "cuda", self._name) or _makes_a_parameter(method, self._name):
                return None
            loads = [one for one in walk(method) if is_own(one, self._name)]
            if not loads:
                continue
            begins = method.name == "__init__"
            if not begins and _is_set(loads) and not _keeps_parameters(method, self._name):
                return None
            parents = _parents(method)
            for one in loads:
                if is_filled(one, parents):
                    continue
                if begins and isinstance(parents.get(one), ast.Call):
                    return None
                found = self._use(one, method, parents)
                if found == "moved":
                    return None
                use = use or (found if not begins else None)
        return use

    def is_read(self) -> ast.AST | None:
        """Return a read in a method other than ``__init__``; None if one sets it, or the state is kept by hand."""
        read: ast.AST | None = None
        for method in self._methods:
            if method.name in _BY_HAND or _makes_a_parameter(method, self._name):
                return None
            for one in walk(method) if method.name != "__init__" else ():
                if isinstance(one, ast.Attribute) and one.attr == self._name:
                    if not isinstance(one.ctx, ast.Load):
                        return None
                    read = read or one
        return read

    def _use(
        self, node: ast.expr, method: _Body, parents: _Around, depth: int = 0
    ) -> ast.AST | Literal["moved"] | None:
        """Follow a tensor, its views and the names that it is given, to an operation."""
        at, parent = _view(node, parents)
        if isinstance(parent, ast.Attribute) and parent.attr in MOVES - _ASKED_ONLY:
            return "moved"
        if isinstance(parent, ast.BinOp) and not isinstance(parent.op, ast.Mod):
            return None if _is_an_index(parent, parents) else parent
        if isinstance(parent, ast.AugAssign) and parent.value is at:
            return parent
        if isinstance(parent, ast.Assign) and parent.value is at and depth < 2:
            return self._use_of_name(parent.targets, method, parents, depth)
        outer = parents.get(parent) if isinstance(parent, ast.keyword | ast.List | ast.Tuple) else parent
        if not isinstance(outer, ast.Call) or outer.func is at:
            return None
        if self._is_of_torch(outer.func) and (at in outer.args or not isinstance(parent, ast.Tuple)):
            return outer
        if isinstance(outer.func, ast.Attribute) and outer.func.attr in _WITH_ANOTHER:
            return outer
        if isinstance(outer.func, ast.Attribute) and outer.func.attr == "apply" and len(outer.args) > 1:
            return outer  # of a function of autograd's
        return self._use_by_callee(outer, at) if depth < 2 and not isinstance(parent, ast.List | ast.Tuple) else None

    def _is_of_torch(self, function: ast.expr) -> bool:
        """Say whether a function is written with the name of a module of torch, or with a usual one."""
        if not isinstance(function, ast.Attribute):
            return False
        return library_of(self._analysis.source, function.value).startswith("torch") or unparsed(function).startswith(
            _TORCH
        )

    def _use_of_name(
        self, targets: list[ast.expr], method: _Body, parents: _Around, depth: int
    ) -> ast.AST | Literal["moved"] | None:
        name = targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""
        names = [one for one in nodes_of(method, ast.Name) if one.id == name]
        if not name or sum(not isinstance(one.ctx, ast.Load) for one in names) != 1:
            return "moved" if name else None
        found = [self._use(one, method, parents, depth + 1) for one in names if isinstance(one.ctx, ast.Load)]
        return "moved" if "moved" in found else next((one for one in found if one is not None), None)

    def _use_by_callee(self, call: ast.Call, node: ast.expr) -> ast.AST | Literal["moved"] | None:
        """Look at what a layer of torch's does with it, or a function of the project."""
        made = self._functions.get(call)
        if made is None:
            return None
        if made.name.startswith("torch.nn.") and made.name.endswith("__call__"):
            return call
        function = made.function
        if function is None or isinstance(function.node, ast.Lambda):
            return None
        name = _parameter(function, call, node)
        body = function.node
        names = [one for one in nodes_of(body, ast.Name) if one.id == name]
        if not name or any(not isinstance(one.ctx, ast.Load) for one in names):
            return "moved" if names else None
        parents = _parents(body)
        found = [self._use(one, body, parents, 2) for one in names]
        return "moved" if "moved" in found else call if any(found) else None


def is_own(node: ast.AST, name: str) -> TypeGuard[ast.Attribute]:
    """Say whether a node is an attribute of the object itself."""
    return isinstance(node, ast.Attribute) and node.attr == name and getattr(node.value, "id", "") == "self"


def is_filled(node: ast.expr, parents: _Around) -> bool:
    """Say whether numbers are written into a tensor where it is, by an initialiser, a method or an item."""
    at, parent = node, parents.get(node)
    while isinstance(parent, ast.Subscript | ast.Attribute) and parent.value is at:
        if isinstance(parent, ast.Attribute) and parent.attr != "data":
            break
        at, parent = parent, parents.get(parent)
    if isinstance(parent, ast.Attribute):
        return parent.attr in _FILLS and isinstance(parents.get(parent), ast.Call)
    if isinstance(parent, ast.Call) and parent.args[:1] == [at]:
        name = unparsed(parent.func)
        return re.search(r"(^|\.)init\.\w+$|(normal|uniform)_$", name) is not None
    return isinstance(at, ast.Subscript) and isinstance(at.ctx, ast.Store)


_FILLS = frozenset("fill_ copy_ zero_ uniform_ normal_ mul_ add_ div_ clamp_ bernoulli_ random_ exponential_".split())
_Around = dict[ast.AST, ast.AST]
_BY_HAND = frozenset(
    "_apply state_dict load_state_dict _save_to_state_dict _load_from_state_dict get_extra_state __getstate__".split()
)


def _parents(node: ast.AST) -> _Around:
    return {child: one for one in walk(node) for child in children(one)}


def _view(node: ast.expr, parents: _Around) -> tuple[ast.expr, ast.AST | None]:
    """Return the largest expression that is a view or a function of a tensor alone, and what is around it."""
    at = node
    while True:
        parent = parents.get(at)
        outer = parents.get(parent) if parent is not None else None
        if (isinstance(parent, ast.Subscript) and parent.value is at and _keeps_axes(parent.slice)) or (
            isinstance(parent, ast.UnaryOp) and not isinstance(parent.op, ast.Not)
        ):
            at = parent
        elif isinstance(parent, ast.Attribute) and parent.attr in _VIEWS:
            at = outer if isinstance(outer, ast.Call) and outer.func is parent else parent
        else:
            return at, parent


def _is_an_index(node: ast.AST, parents: _Around) -> bool:
    """Say whether a number is for an index: those may be on the CPU."""
    inner = node
    while isinstance(node, ast.BinOp | ast.UnaryOp | ast.Tuple):
        inner, node = node, parents[node]
    return isinstance(node, ast.Subscript) and node.slice is inner


def _keeps_axes(index: ast.expr) -> bool:
    """Say whether an index surely leaves a tensor with axes: of one number, any device computes with it."""
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return any(isinstance(one, ast.Slice) or getattr(one, "value", 0) in (None, ...) for one in parts)


def _is_set(nodes: list[ast.Attribute]) -> bool:
    return any(not isinstance(one.ctx, ast.Load) for one in nodes)


def _keeps_parameters(method: _Body, name: str) -> bool:
    """Say whether a method sets an attribute beside others, which it makes parameters."""
    stored = [one for one in own(method) if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Attribute)]
    return any(
        isinstance(one.value, ast.Call)
        and last_name(one.value.func) == "Parameter"
        and last_name(one.targets[0]) != name
        for one in stored
    )


def _makes_a_parameter(method: _Body, name: str) -> bool:
    """Say whether a method makes a parameter or buffer of an attribute, or sets it to one."""
    return any(
        isinstance(one, ast.Assign)
        and any(getattr(each, "attr", "") == name for each in (*one.targets, *walk(one.value)))
        and any(last_name(each.func) in ("Parameter", "Buffer") for each in nodes_of(one.value, ast.Call))
        for one in own(method)
    )


def _parameter(function: Function, call: ast.Call, node: ast.expr) -> str:
    """Name the parameter of a function that an expression is given for; "" if that is not clear."""
    given = next((one.arg for one in call.keywords if one.value is node), None)
    if given is not None:
        return given
    arguments = [one.arg for one in (*function.node.args.posonlyargs, *function.node.args.args)]
    shift = 1 if arguments[:1] == ["self"] else 0
    if any(isinstance(one, ast.Starred) for one in call.args) or node not in call.args:
        return ""
    at = call.args.index(node) + shift
    return arguments[at] if at < len(arguments) else ""


def moved_by_hand(cls: ProjectClass, name: str) -> ast.AST | None:
    """Return where an own `_apply` moves an attribute: `self.bound = fn(self.bound)`."""
    apply = next((one for one in cls.node.body if isinstance(one, _Body) and one.name == "_apply"), None)
    for one in own(apply) if apply is not None else ():
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Call) and len(one.value.args) == 1:
            target = one.targets[0]
            if isinstance(target, ast.Attribute) and target.attr == name and last_name(one.value.args[0]) == name:
                return one
    return None
