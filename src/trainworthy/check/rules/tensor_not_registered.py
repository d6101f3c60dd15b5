"""A module keeps a tensor that is neither a parameter nor a buffer.

What it finds:
    `self.scale = torch.tensor(...)` in `__init__` of a module, when a method computes with it as it is: by itself, as a
    view, under another name, in a function of the project or a layer of torch's. A tensor that is called and filled as
    weights are: `nn.init.normal_(self.weight)`. One that is drawn at random there and read by a method. One that an own
    `_apply` moves (a hint: it is not saved). And `nn.Parameter(...).cuda()`, or a parameter times something, which is
    no parameter any more.

Why:
    `module.to(device)` and `.half()` leave it behind, checkpoints do not have it, and if it was to be trained,
    nothing trains it. What was drawn is another tensor after loading than that which the weights were trained with.

How sure:
    The value is surely a tensor of torch's, made without a device, and goes straight into an operation of another
    method. Silent if it is made of one number that the program says, or used by one item, as such a tensor computes
    with those of any device; if the attribute is ever moved (`.to`, `.cuda`, `.type_as`, `new_tensor`), set
    in another method (but beside parameters), put into a list, or if the class overrides `to` or `cuda`. What is drawn:
    silent if it follows a seed or generator, is drawn again, is saved by hand, or is called noise or a sample.

When it is wrong:
    The module never leaves the CPU, and the tensor is a constant.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Store
from trainworthy.check.static.filled_weights import filled_as_a_weight, is_set_up
from trainworthy.check.static.plain_tensors import Uses, draw_in, is_plain_tensor, moved_by_hand
from trainworthy.check.static.queries import is_a_module, is_a_test
from trainworthy.check.static.tree import walk

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


@rule(code="TW345", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at tensors stored in `__init__`, and at what methods do with them."""
    seen: set[ast.AST] = set()
    for store in analysis.stores:
        if store.node in seen or store.context.source is not analysis.source:
            continue
        hit = _of_a_parameter(analysis, store) or _of_a_plain_tensor(analysis, store)
        if hit is not None:
            seen.add(store.node)
            yield hit


def _of_a_parameter(analysis: Analysis, store: Store) -> Hit | None:
    made = _no_parameter_any_more(store)
    if made is None:
        return None
    return Hit(
        place=analysis.place(store.node, store.context),
        message=f"`nn.Parameter(...){made}` is a tensor computed from a parameter, not one: nothing trains it",
        fix="Make the parameter of the result: `nn.Parameter(torch.empty(..., device=...))`.",
    )


def _of_a_plain_tensor(analysis: Analysis, store: Store) -> Hit | None:
    function, target = store.context.function, store.target
    if function is None or not is_set_up(store.context) or function.owner is None:
        return None
    if not isinstance(target, ast.Attribute) or not is_a_module(store.owner):
        return None
    filled = filled_as_a_weight(store, function.owner, target.attr)
    if filled is not None and not is_a_test(analysis.source):
        return _hit(analysis, store, filled, "it is filled as weights are, but nothing trains, moves or saves it")
    if function.name != "__init__":
        return None
    plain, source = is_plain_tensor(store), getattr(store.node, "value", None)
    drawn = _is_drawn(analysis, source) and not _seeds(function.owner.node) and not _SHOWN.search(target.attr)
    if not plain and not drawn:
        return None
    uses, severity = Uses(analysis, function.owner, target.attr), ""
    use, what = uses.computes() if plain else None, "it does not move with the module and is not saved"
    if use is None and drawn:
        use, what = uses.is_read(), "it is drawn anew for each module and not saved: a loaded one has another"
    if use is None and plain:
        use, what, severity = moved_by_hand(function.owner, target.attr), "it is moved by hand, and not saved", "hint"
    return _hit(analysis, store, use, what, severity) if use is not None else None


def _hit(analysis: Analysis, store: Store, use: ast.AST, what: str, severity: str = "") -> Hit:
    name = getattr(store.target, "attr", "")
    return Hit(
        place=analysis.place(store.node, store.context),
        message=f"`self.{name}` is a plain tensor: {what}",
        evidence=(Evidence("it is used here", analysis.place(use, store.context)),),
        fix=f'`self.register_buffer("{name}", ...)`, or `nn.Parameter(...)` if it is to be trained.',
        severity="hint" if severity else None,
    )


_SHOWN = re.compile(r"noise|latent|(^|_)(z|eps|example|sample|dummy)|input")  # drawn to look at what comes out


def _is_drawn(analysis: Analysis, source: ast.AST | None) -> bool:
    drawn = isinstance(source, ast.expr) and draw_in(analysis.source, source) is not None
    return drawn and not is_a_test(analysis.source)


def _seeds(cls: ast.ClassDef) -> bool:
    """Say whether a class sets a seed, from which all its modules draw the same."""
    return any("seed" in str(getattr(one, "attr", "")) for one in walk(cls))


def _no_parameter_any_more(store: Store) -> str | None:
    """Write what is done to a new parameter whose result a module keeps; None if it stays one."""
    value = getattr(store.node, "value", None)
    if not isinstance(store.target, ast.Attribute) or not is_a_module(store.owner):
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
