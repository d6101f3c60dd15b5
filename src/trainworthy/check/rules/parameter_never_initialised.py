"""A parameter is made of uninitialised memory.

What it finds:
    `nn.Parameter(torch.Tensor(n, m))` or `nn.Parameter(torch.empty(...))` in a module that never fills it.

Why:
    Whatever was in that memory is the first value: often zeros, sometimes 1e30 or NaN, and another value in each run.

How sure:
    Nothing in the class or its project's bases initialises: no `init.`, no in-place method on the attribute, no
    method named for initialisation or resetting, no loop over `parameters()`. Silent if a checkpoint is loaded in the
    class.

When it is wrong:
    Something outside of the class fills every parameter, as `model.apply(init)` does.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Store
from trainworthy.check.static.values import Const, Instance, ProjectClass

BAD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, heads, size):
        super().__init__()
        self.bias = nn.Parameter(torch.Tensor(heads, size))  # <- TW349
        self.query = nn.Linear(size, size)

    def forward(self, x):
        return self.query(x) + self.bias
"""

GOOD = """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, heads, size):
        super().__init__()
        self.bias = nn.Parameter(torch.empty(heads, size))
        nn.init.zeros_(self.bias)
        self.query = nn.Linear(size, size)

    def forward(self, x):
        return self.query(x) + self.bias
"""

_FILLS = re.compile(
    r"reset_parameters|init_weights|_init\b|initiali[sz]e|weight_init|init_param|self\.parameters\(|named_parameters|load_state_dict|self\.apply"
)


@rule(code="TW349", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at parameters made in `__init__`."""
    seen = set()
    for store in analysis.stores:
        function = store.context.function
        if function is None or function.owner is None or function.name != "__init__" or store.node in seen:
            continue
        if (
            not isinstance(store.target, ast.Attribute)
            or not _of_raw_memory(store)
            or store.context.source is not analysis.source
        ):
            continue
        if not is_module(store.owner or Instance("")) or _filled(analysis, function.owner, store.target.attr, store):
            continue
        seen.add(store.node)
        yield Hit(
            place=analysis.place(store.node, store.context),
            message=f"`self.{store.target.attr}` starts as uninitialised memory, and nothing in the class fills it",
            fix="Use `torch.zeros`, `torch.randn`, or `nn.init` on it.",
        )


def _of_raw_memory(store: Store) -> bool:
    value = store.value
    if not isinstance(value, Instance) or value.type != "torch.nn.Parameter" or value.made_by is None:
        return False
    data = value.made_by.node.args[0] if value.made_by.node.args else None
    if not isinstance(data, ast.Call) or isinstance(value.made_by.argument(0, "data"), Const):
        return False
    name = ast.unparse(data.func)
    if name in ("torch.empty", "th.empty"):
        return not any(isinstance(one, ast.Constant) and one.value == 0 for one in data.args)
    sizes = all(isinstance(one, ast.Name | ast.Attribute | ast.Constant | ast.BinOp) for one in data.args)
    return name in ("torch.Tensor", "torch.FloatTensor", "th.Tensor") and len(data.args) >= 2 and sizes


def _filled(analysis: Analysis, cls: ProjectClass, name: str, store: Store) -> bool:
    text = analysis.segment(cls.node, store.context)
    if _FILLS.search(text) or any(isinstance(base, ProjectClass) for base in cls.bases):
        return True
    for node in ast.walk(cls.node):
        if not isinstance(node, ast.Call):
            continue
        func = node.func
        method = getattr(func, "attr", "")
        touches = any(getattr(one, "attr", "") == name for one in ast.walk(node))
        if touches and (method.endswith("_") or "init" in ast.unparse(func)):
            return True
    return _set_elsewhere(cls, name)


def _set_elsewhere(cls: ProjectClass, name: str) -> bool:
    """Say whether the attribute is written more than once, or into."""
    writes = [
        target
        for node in ast.walk(cls.node)
        if isinstance(node, ast.Assign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if any(getattr(one, "attr", "") == name for one in ast.walk(target))
    ]
    return len(writes) > 1
