"""Layers are kept in a plain list or dict.

What it finds:
    `self.name = [nn.Linear(...), ...]`, a comprehension of layers, or a dict of layers in the `__init__` of a
    module, which never registers them elsewhere. As a hint, a list of attributes with batch norm among them that the
    layers run through: it keeps what conversions replace.

Why:
    A module finds its parts among its attributes, not inside of lists: these layers are not in `parameters()`, so
    they are neither trained, nor moved, nor saved.

How sure:
    Silent if the list is handed on (to `nn.Sequential(*self.name)`, `ModuleList`, `add_module`, `setattr`) or its
    layers are kept in other attributes, too; and if the class freezes an item and moves it by hand.

In real steps:
    A list or dict of two modules or more, with parameters to train, that is an attribute of a module of a model and no
    part of that model. Else, parameters in the graph of a loss that are in no model that ran and in no optimizer, and
    did not change.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.runs import listed
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Context, Store
from trainworthy.check.static.filled_weights import is_set_up
from trainworthy.check.static.layer_lists import (
    filled_later,
    has_parameters,
    is_batch_norm,
    is_called_a_layer,
    made_in_place,
    runs_through,
)
from trainworthy.check.static.queries import body_of, is_a_module
from trainworthy.check.static.tree import children, nodes_of, unparsed, variables, walk
from trainworthy.check.static.values import UNKNOWN, Instance, Sequence, Value

BAD = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = [nn.Linear(4, 4) for _ in range(3)]  # <- TW303

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x
"""

GOOD = """\
import torch.nn as nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x
"""


def _become_attributes(analysis: Analysis) -> Iterator[tuple[Hit, Context, str]]:
    seen = set()
    for store in analysis.stores:
        function = store.context.function
        if (
            function is None
            or not is_set_up(store.context)
            or store.node in seen
            or not is_module(store.owner or Instance(""))
        ):
            continue
        layer = _layer_in(store.value, analysis, store)
        if layer is None or not isinstance(store.target, ast.Attribute) or _handed_on(store):
            continue
        seen.add(store.node)
        yield Hit(
            place=analysis.place(store.node, store.context),
            message=f"layers in a plain {_kind(store.value)} are not parameters of the module",
            evidence=(Evidence(f"the first one is a {_type(layer) or 'module'}"),),
            fix=f"Wrap it: `nn.{'ModuleDict' if _kind(store.value) == 'dict' else 'ModuleList'}(...)`.",
        ), store.context, store.target.attr  # fmt: skip


def _are_listed_beside(analysis: Analysis) -> Iterator[tuple[Hit, Context, str]]:
    """Yield plain lists of attributes that are layers, batch norm among them, when the layers run through the list."""
    for store in analysis.stores:
        function, value = store.context.function, getattr(store.node, "value", None)
        if not isinstance(value, ast.List | ast.Tuple) or len(value.elts) < 2 or function is None:
            continue
        if function.name != "__init__" or function.owner is None or not is_a_module(store.owner):
            continue
        names = [one.attr for one in value.elts if isinstance(one, ast.Attribute) and unparsed(one.value) == "self"]
        norm = next((one for one in names if is_batch_norm(function.node, one)), None)
        if not isinstance(store.target, ast.Attribute) or len(names) != len(value.elts) or norm is None:
            continue
        if runs_through(function.owner.node, store.target.attr):
            yield Hit(
                place=analysis.place(store.node, store.context),
                message=f"layers run through a plain list: what replaces `self.{norm}`, as `convert_sync_batchnorm` "
                "does, is not in it",
                fix="Make the list where it is used, or keep the layers in `nn.Sequential` alone.",
                severity="hint",
            ), store.context, store.target.attr  # fmt: skip


@rule(code="TW303", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at lists that become attributes of modules, and at such that are filled later."""
    seen: set[tuple[ast.AST, str]] = set()
    for hit, context, attribute in chain(
        _become_attributes(analysis), _are_filled(analysis), _are_listed_beside(analysis)
    ):
        key = (body_of(context), attribute)
        if key not in seen:
            seen.add(key)
            yield hit


def _are_filled(analysis: Analysis) -> Iterator[tuple[Hit, Context, str]]:
    for node, context, held, value in filled_later(analysis):
        function = context.function
        if function is None or not is_set_up(context) or function.owner is None:
            continue
        made = node.args[0] if isinstance(node, ast.Call) and node.args else getattr(node, "value", None)
        if not has_parameters(value, analysis, or_a_mode=True) and not is_called_a_layer(
            value, made, function.owner.node, held.attr
        ):
            continue
        if not function.owner.outside_base().startswith("torch.nn.") or getattr(held.value, "id", "") != "self":
            continue
        kind = _made_empty(function.node, held.attr)
        if kind is None or _uses(function.owner.node, held.attr):
            continue
        yield Hit(
            place=analysis.place(node, context),
            message=f"layers in a plain {kind} are not parameters of the module",
            evidence=(Evidence(f"the first one is a {_type(value) or 'module'}"),),
            fix=f"Begin with `nn.{'ModuleDict' if kind == 'dict' else 'ModuleList'}()`.",
        ), context, held.attr  # fmt: skip


def _made_empty(init: ast.AST, attribute: str) -> str | None:
    """Return whether an attribute is set once in a function, to an empty list or dict."""
    values = [
        one.value
        for one in nodes_of(init, ast.Assign)
        if any(isinstance(t, ast.Attribute) and t.attr == attribute for t in one.targets)
    ]
    if len(values) != 1:
        return None
    if isinstance(values[0], ast.List) and not values[0].elts:
        return "list"
    return "dict" if isinstance(values[0], ast.Dict) and not values[0].keys else None


def _kind(value: Value) -> str:
    return value.kind if isinstance(value, Sequence) else "list"


def _type(value: Value) -> str:
    return value.type.rpartition(".")[2] if isinstance(value, Instance) else ""


def _layer_in(value: Value, analysis: Analysis, store: Store) -> Value | None:
    if not isinstance(value, Sequence):
        return None
    items = value.items
    if items is None:
        items = (analysis.element(value),)
    elif not made_in_place(value) or _hides_one(value):
        return None
    for item in items:
        if not has_parameters(item, analysis, or_a_mode=True) and not _is_called_so(item, value, store):
            return None
        owner = store.owner
        if isinstance(owner, Instance) and item is not UNKNOWN and any(one is item for one in owner.attrs.values()):
            return None
    return items[0] if items else None


def _is_called_so(item: Value, held: Sequence, store: Store) -> bool:
    function, target = store.context.function, store.target
    if function is None or function.owner is None or not isinstance(target, ast.Attribute):
        return False
    return is_called_a_layer(item, held.node, function.owner.node, target.attr)


def _hides_one(value: Sequence) -> bool:
    """Say whether it is a tuple of one: so is a layer kept from being registered, as by `[layer]`."""
    return value.kind == "tuple" and value.items is not None and len(value.items) == 1


def _handed_on(store: Store) -> bool:
    """Say whether the attribute is used for more than going through it or taking an item."""
    function, target = store.context.function, store.target
    if function is None or function.owner is None or not isinstance(target, ast.Attribute):
        return True
    return _uses(function.owner.node, target.attr)


def _uses(cls: ast.ClassDef, attribute: str) -> bool:
    """Say whether a class uses an attribute for more than going through it, filling it or taking an item."""
    parents = {child: node for node in walk(cls) for child in children(node)}
    for node in walk(cls):
        if not isinstance(node, ast.Attribute) or node.attr != attribute or isinstance(node.ctx, ast.Store):
            continue
        parent = parents.get(node)
        if isinstance(parent, ast.Starred | ast.Call | ast.keyword | ast.Return | ast.Assign):
            callee = parent.func if isinstance(parent, ast.Call) else None
            if not (isinstance(callee, ast.Name) and callee.id in ("enumerate", "zip", "len", "reversed", "range")):
                return True
    if _is_fixed_and_moved(cls, attribute):
        return True
    return _registers(cls, attribute) or _asks_for_parameters(cls, attribute)


def _registers(cls: ast.ClassDef, attribute: str) -> bool:
    """Say whether a class may register by name what is in an attribute, or what its own methods made for it."""
    for method in walk(cls):
        registers = [
            one
            for one in (walk(method) if isinstance(method, ast.FunctionDef) else ())
            if isinstance(one, ast.Call) and last_name(one.func) in ("add_module", "register_module", "setattr")
        ]
        if registers and getattr(method, "name", "") != "__init__":
            return True
        held = _names_of_items(method, attribute) if registers else set()
        if any(f"self.{attribute}" in unparsed(one) or held & variables(one) for one in registers):
            return True
    return False


def _names_of_items(method: ast.AST, attribute: str) -> set[str]:
    """Return what a method calls what it takes from an attribute, or puts into it."""
    held: set[str] = set()
    for one in walk(method):
        if isinstance(one, ast.For | ast.comprehension) and f"self.{attribute}" in unparsed(one.iter):
            held |= variables(one.target)
        elif isinstance(one, ast.Call) and unparsed(one.func).startswith(f"self.{attribute}."):
            held |= {name for given in one.args for name in variables(given)}
    return held


def _is_fixed_and_moved(cls: ast.ClassDef, attribute: str) -> bool:
    """Say whether a class freezes what it hides in a list, and moves it by hand: `self.filter[0] = ....to(device)`."""
    fixed = moved = False
    for node in walk(cls):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            item = node.func.value
            of_it = isinstance(item, ast.Subscript) and getattr(item.value, "attr", "") == attribute
            off = [*node.args, *(one.value for one in node.keywords)]
            fixed = fixed or (
                of_it and node.func.attr == "requires_grad_" and [getattr(one, "value", None) for one in off] == [False]
            )
            moved = moved or (of_it and node.func.attr in ("to", "cuda"))
    return fixed and moved


def _asks_for_parameters(cls: ast.ClassDef, attribute: str) -> bool:
    """Say whether a class may ask its list for parameters, or says which it has."""
    for node in walk(cls):
        if isinstance(node, ast.FunctionDef) and "parameters" in node.name and not _SETS.match(node.name):
            return True
        if isinstance(node, ast.Attribute) and node.attr in ("parameters", "named_parameters", "state_dict"):
            owner = node.value
            while isinstance(owner, ast.Subscript):
                owner = owner.value
            if not _is_something_else(cls, owner, attribute):
                return True
    return False


_SETS = re.compile(r"_?(re)?(set|init)|_?initiali[sz]e|_?count|_?num_")  # the numbers in them, or how many they are


def _is_something_else(cls: ast.ClassDef, owner: ast.expr, attribute: str) -> bool:
    """Say whether an expression is the object itself, another attribute, or a name that is bound to a part of one."""
    root = owner
    while isinstance(root, ast.Attribute | ast.Subscript):
        root = root.value
    text, path = unparsed(root), unparsed(owner)
    if text in ("self", "super()"):
        return f".{attribute}" not in path
    bound = [
        one.value if isinstance(one, ast.Assign) else one.iter
        for one in walk(cls)
        if (isinstance(one, ast.Assign) and any(unparsed(each) == text for each in one.targets))
        or (isinstance(one, ast.For | ast.comprehension) and unparsed(one.target) == text)
    ]
    return bool(bound) and all(unparsed(one).startswith("self.") and attribute not in unparsed(one) for one in bound)


LIVE_BAD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 4), nn.Linear(4, 4)]  # <- TW303
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return self.head(x)


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(5):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(x).relu())


model = Net()

scale = nn.Parameter(torch.ones(1))
optimizer = torch.optim.SGD([*model.parameters(), scale], lr=0.1)
for step in range(5):
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    loss = nn.functional.cross_entropy(scale * model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW303", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield parameters without a home, and modules that their model does not see."""
    for seen in dict.fromkeys(facts.out_of_sight):
        yield Hit(
            place=seen.place,
            message=f"{seen.class_name}.{seen.attribute} is a plain list or dict of {seen.modules} modules: "
            f"{seen.parameters:,} parameters are in no state_dict, and stay where they are when the model is moved",
            fix="Keep them in nn.ModuleList or nn.ModuleDict.",
        )
    for fact in facts.unoptimised:
        if not fact.registered and not facts.out_of_sight:
            yield Hit(
                place=fact.place,
                message=f"The loss reaches {len(fact.names)} parameters of shapes {listed(fact.names)} that "
                "belong to no "
                "model that ran and to no optimizer; they did not change",
                fix="Keep layers in nn.ModuleList or nn.ModuleDict, parameters in nn.ParameterList.",
            )
