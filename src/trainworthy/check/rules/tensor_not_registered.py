"""A module keeps a tensor that is neither a parameter nor a buffer.

What it finds:
    `self.scale = torch.tensor(...)` in `__init__` of a module, when a method computes with it as it is; and
    `self.scale = nn.Parameter(...).cuda()`, or a parameter times something, which is no parameter any more.

Why:
    `module.to(device)` and `.half()` leave it behind, checkpoints do not have it, and if it was to be trained,
    nothing trains it.

How sure:
    The value is surely a tensor of torch's, made without a device, and goes straight into an operation of another
    method. Silent if it is made of one number that the program says, as such a tensor computes with those of any
    device; if the attribute is ever moved (`.to`, `.cuda`, `.type_as`, `new_tensor`, `.device`), set in another method,
    put into a list, or if the class overrides `_apply`, `to` or `cuda`.

When it is wrong:
    The module never leaves the CPU, and the tensor is a constant.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Store
from trainworthy.check.static.tree import children, walk
from trainworthy.check.static.values import UNKNOWN, Const, Instance, ProjectClass, Tensor, Value

BAD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.query = nn.Linear(channels, channels)
        self.scale = torch.sqrt(torch.tensor(channels, dtype=torch.float))  # <- TW345

    def forward(self, x):
        return self.query(x) / self.scale
"""

GOOD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.query = nn.Linear(channels, channels)
        self.register_buffer("scale", torch.sqrt(torch.tensor(channels, dtype=torch.float)))
        self.offset = torch.zeros(channels)

    def forward(self, x):
        return self.query(x) / self.scale + self.offset.to(x.device)
"""

_MOVES = (
    "to",
    "cuda",
    "type_as",
    "device",
    "dtype",
    "cpu",
    "numpy",
    "tolist",
    "item",
    "new_tensor",
    "shape",
    "size",
    "requires_grad_",
)


@rule(code="TW345", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at tensors stored in `__init__`, and at what methods do with them."""
    seen = set()
    for store in analysis.stores:
        made = _no_parameter_any_more(store)
        if made is not None and store.node not in seen and store.context.source is analysis.source:
            seen.add(store.node)
            yield Hit(
                place=analysis.place(store.node, store.context),
                message=f"`nn.Parameter(...){made}` is a tensor computed from a parameter, not one: nothing trains it",
                fix="Make the parameter of the result: `nn.Parameter(torch.empty(..., device=...))`.",
            )
        function = store.context.function
        if function is None or function.name != "__init__" or function.owner is None or store.node in seen:
            continue
        if (
            not isinstance(store.target, ast.Attribute)
            or not _is_plain_tensor(store)
            or not is_module(store.owner or Instance(""))
        ):
            continue
        use = _computes_with(function.owner, store.target.attr)
        if use is None or store.context.source is not analysis.source:
            continue
        seen.add(store.node)
        yield Hit(
            place=analysis.place(store.node, store.context),
            message=f"`self.{store.target.attr}` is a plain tensor: it does not move with the module and is not saved",
            evidence=(Evidence("it is used here", analysis.place(use, store.context)),),
            fix=f'`self.register_buffer("{store.target.attr}", ...)`, or `nn.Parameter(...)` if it is to be trained.',
        )


def _no_parameter_any_more(store: Store) -> str | None:
    """Write what is done to a new parameter whose result a module keeps; None if it stays one."""
    value = getattr(store.node, "value", None)
    if not isinstance(store.target, ast.Attribute) or not is_module(store.owner or Instance("")):
        return None
    if isinstance(value, ast.BinOp) and any(_is_new_parameter(one) for one in (value.left, value.right)):
        return f" {_SIGNS.get(type(value.op), '+')} ..."
    call = value if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) else None
    if call is None or not isinstance(call.func, ast.Attribute) or not _is_new_parameter(call.func.value):
        return None
    return f".{call.func.attr}()" if call.func.attr in ("cuda", "to", "double", "half", "clone") else None


_SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}


def _is_new_parameter(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and last_name(node.func) == "Parameter"


_TORCH = ("torch.", "F.", "functional.", "nn.functional.")
_CLASSES = ("torch.Tensor", "torch.FloatTensor", "torch.LongTensor")


def _is_plain_tensor(store: Store) -> bool:
    value = store.value
    raw = isinstance(value, Instance) and value.type in _CLASSES
    if (
        not raw
        and not _made_by_an_initialiser(store)
        and not (isinstance(value, Tensor) and value.library == "torch.Tensor")
    ):
        return False
    source = getattr(store.node, "value", None)
    return (
        source is not None
        and not _is_one_number(value)
        and not any(
            getattr(one, "attr", "") in (*_MOVES, "Parameter", "Buffer")
            or getattr(one, "arg", "") == "device"
            or getattr(one, "id", "") in ("Parameter", "Buffer")
            for one in walk(source)
            if not (isinstance(one, ast.keyword) and one.arg == "dtype")
            and not (isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "torch")
        )
    )


def _is_one_number(value: Value) -> bool:
    """Say whether a tensor has no axes: one number, known from the program, or a function of such a tensor."""
    call = value.made_by if isinstance(value, Tensor) else None
    first = call.args[0] if call is not None and call.args else None
    if call is None or first is None or len(call.args) > 1:
        return False
    if isinstance(first, Const):
        return call.name in ("torch.tensor", "torch.as_tensor") and isinstance(first.value, int | float)
    return call.name in _ELEMENTWISE and _is_one_number(first)


_ELEMENTWISE = frozenset(f"torch.{name}" for name in "sqrt rsqrt exp log abs square".split())


def _made_by_an_initialiser(store: Store) -> bool:
    """Say whether a function named for initialising gets a fresh tensor, which it fills and returns."""
    node = getattr(store.node, "value", None)
    if store.value is not UNKNOWN or not isinstance(node, ast.Call) or "init" not in last_name(node.func).lower():
        return False
    first = node.args[0] if node.args else None
    return isinstance(first, ast.Call) and ast.unparse(first.func) in ("torch.empty", "torch.zeros", "torch.Tensor")


def _computes_with(cls: ProjectClass, name: str) -> ast.AST | None:
    """Return an operation with the attribute in another method; None also if it is moved or set anywhere."""
    use: ast.AST | None = None
    for member in cls.node.body:
        if not isinstance(member, ast.FunctionDef):
            continue
        if member.name in ("_apply", "to", "cuda", name):
            return None
        parents = {child: node for node in walk(member) for child in children(node)}
        for node in walk(member):
            if not isinstance(node, ast.Attribute) or node.attr != name:
                continue
            parent = parents.get(node)
            if member.name != "__init__" and isinstance(node.ctx, ast.Store | ast.Del):
                return None
            if isinstance(parent, ast.Attribute) and parent.attr in _MOVES:
                return None
            if member.name == "__init__" and isinstance(parent, ast.Call):
                return None
            if member.name == "__init__":
                continue
            if isinstance(parent, ast.BinOp) and not isinstance(parent.op, ast.Mod):
                use = use or parent
            elif isinstance(parent, ast.keyword) or (isinstance(parent, ast.Call) and node in parent.args):
                outer = parents.get(parent) if isinstance(parent, ast.keyword) else parent
                if isinstance(outer, ast.Call) and ast.unparse(outer.func).startswith(_TORCH):
                    use = use or outer
    return use
