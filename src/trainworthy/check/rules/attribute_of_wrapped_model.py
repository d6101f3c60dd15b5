"""An attribute of the model is asked of its DDP wrapper.

What it finds:
    `model.custom()` where `model` is a `DistributedDataParallel` and `custom` is defined by the class that it wraps.

Why:
    The wrapper does not hand attributes on: AttributeError, often only when rank 0 saves, while the others wait.

How sure:
    The wrapped class is known and has the attribute; the wrapper does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Edit, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import WRAPPERS, Function, Instance

BAD = """\
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def generate(self, x):
        return self.linear(x)


model = DistributedDataParallel(Net())
model.generate(None)  # <- TW418
"""

GOOD = """\
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def generate(self, x):
        return self.linear(x)


model = DistributedDataParallel(Net())
model.module.generate(None)
model.parameters()
"""


@rule(code="TW418", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes of wrappers."""
    seen = set()
    told_apart = set(_told_apart(analysis))
    for load in analysis.loads:
        owner, name = load.owner, load.node.attr
        if (
            not isinstance(owner, Instance)
            or owner.type not in WRAPPERS
            or load.node in seen
            or load.node in told_apart
        ):
            continue
        own = owner.cls
        if own is not None and (own.lookup(name) is not None or not own.fully_known()):  # a wrapper with more methods
            continue
        inner = owner.attrs.get("module")
        cls = inner.cls if isinstance(inner, Instance) else None
        if cls is None or name in owner.attrs or name.startswith("__"):
            continue
        known = isinstance(cls.members.get(name), Function) or (isinstance(inner, Instance) and name in inner.attrs)
        if not known or name in _MODULE_NAMES or name.startswith("_"):
            continue
        seen.add(load.node)
        place = analysis.place(load.node, load.context)
        text = analysis.segment(load.node.value, load.context)
        yield Hit(
            place=place,
            message=f"`{name}` belongs to {cls.node.name}, not to the wrapper",
            fix=f"Write `{text}.module.{name}`.",
            edits=(Edit(place, f"{text}.module.{name}"),),
        )


def _told_apart(analysis: Analysis) -> Iterator[ast.AST]:
    """Yield what stands in `a if isinstance(model, Wrapper) else b`: each half is for another kind of model."""
    for node in analysis.nodes.get(ast.IfExp, ()):
        if isinstance(node, ast.IfExp) and _asks_for_kind(node.test):
            yield from walk(node.body)
            yield from walk(node.orelse)


def _asks_for_kind(test: ast.expr) -> bool:
    return any(
        isinstance(one, ast.Call) and getattr(one.func, "id", "") in ("isinstance", "hasattr") for one in walk(test)
    )


_MODULE_NAMES = frozenset(
    "forward train eval parameters named_parameters buffers named_buffers state_dict load_state_dict to cuda cpu half "
    "float double apply modules named_modules children named_children register_buffer zero_grad requires_grad_ type "
    "share_memory extra_repr no_sync join register_comm_hook training module device device_ids add_module "
    "get_parameter get_submodule get_buffer register_parameter register_module bfloat16 compile".split()
)
