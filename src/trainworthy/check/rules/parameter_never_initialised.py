"""A parameter is trained from whatever was in memory.

What it finds:
    `self.weight = nn.Parameter(torch.empty(...))` (or `torch.Tensor(...)`) of a class whose file never names that
    parameter in anything that writes it (`nn.init`, `.data`, a method ending in `_`), has no method that initialises,
    and trains. On a rehearsal: a parameter on the GPU whose memory came from `empty` or `to_empty`, and that nothing
    wrote before the first step read it.

Why:
    `torch.empty` gives what other tensors left behind: often zeros, sometimes 1e30 or NaN, differently in each run.

How sure:
    Sure within the file. Silent where weights are loaded, or where the file has no `backward`. A rehearsal sees
    whatever writes, wherever it is called.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.dry.rows import place_of
from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.tape.record import Op, Source, Tape

BAD = """\
import torch
from torch import nn


class Scale(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))  # <- TW373

    def forward(self, x):
        return x * self.weight


model = Scale(4)
model(torch.rand(2, 4)).mean().backward()
"""

GOOD = """\
import torch
from torch import nn


class Scale(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        nn.init.ones_(self.weight)

    def forward(self, x):
        return x * self.weight


model = Scale(4)
model(torch.rand(2, 4)).mean().backward()
"""

_EMPTY = ("torch.empty", "torch.Tensor", "torch.FloatTensor")
_LOADS = ("load_state_dict", "from_pretrained", "load_checkpoint", "load_file", "safe_open", "to_empty")
_INITIALISERS = ("init", "reset")


@rule(code="TW373", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at parameters made of empty tensors."""
    words = analysis.source.words
    if "Parameter" not in words or "backward" not in words or words.intersection(_LOADS):
        return
    empties = {one.node for one in analysis.calls(*_EMPTY) if _has_size(one.node)}
    if not empties or _initialises_all(analysis):
        return
    for call in once_per_place(analysis.calls("torch.nn.Parameter", "torch.nn.parameter.Parameter")):
        name = _attribute(analysis, call.node)
        given = call.argument_node(0, "data")
        if given in empties and name is not None and not _is_written(analysis, name):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"`{name}` begins with whatever was in memory: nothing writes it before it is trained",
                fix=f"nn.init.xavier_uniform_(self.{name}), or torch.zeros / torch.randn with a scale.",
            )


def _has_size(node: ast.Call) -> bool:
    """Say whether sizes are given; torch.Tensor([1.0]) and torch.Tensor(array) hold what they were given."""
    name = getattr(node.func, "attr", "")
    if name == "empty":
        return bool(node.args)
    return len(node.args) > 1 or (len(node.args) == 1 and isinstance(node.args[0], ast.Constant))


def _initialises_all(analysis: Analysis) -> bool:
    """Say whether something goes over all parameters, or a method of a class that is named so does anything."""
    names = {one.name.lower() for one in analysis.functions}
    calls = {one.method for one in analysis.all_calls}
    return any(part in name for name in names - {"__init__"} for part in _INITIALISERS) or "apply" in calls or any(
        isinstance(one, ast.For) and any(getattr(n, "attr", "") in ("parameters", "named_parameters")
                                         for n in walk(one.iter))
        and any(isinstance(n, ast.Attribute) and n.attr in ("data", "copy_", "normal_", "uniform_", "init")
                for n in walk(one))
        for one in analysis.nodes.get(ast.For, ())
    )  # fmt: skip


def _attribute(analysis: Analysis, value: ast.AST) -> str | None:
    for one in analysis.nodes.get(ast.Assign, ()):
        if isinstance(one, ast.Assign) and one.value is value:
            targets = [t.attr for t in one.targets if isinstance(t, ast.Attribute)]
            return targets[0] if targets else None
    return None


def _is_written(analysis: Analysis, name: str) -> bool:
    """Say whether the attribute is handed to a function, or a method or part of it that writes is used."""
    for node in analysis.nodes.get(ast.Call, ()):
        if isinstance(node, ast.Call) and any(
            _is(one, name) for one in [*node.args, *(k.value for k in node.keywords)]
        ):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called.endswith("_") or "init" in unparsed(node.func).lower():
                return True
    for node in analysis.nodes.get(ast.Attribute, ()):
        if (
            isinstance(node, ast.Attribute)
            and _is(node.value, name)
            and (node.attr == "data" or node.attr.endswith("_"))
        ):
            return True
    return any(
        isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and _is(node.value, name)
        for node in analysis.nodes.get(ast.Subscript, ())
    )


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == name


DRY_BAD = """\
import torch
from torch import nn

with torch.device("meta"):
    model = nn.Linear(6, 4)
model = model.to_empty(device="cuda")  # <- TW373
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(8, 6, device="cuda")).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
DRY_GOOD = """\
import torch
from torch import nn

with torch.device("meta"):
    model = nn.Linear(6, 4)
model = model.to_empty(device="cuda")
model.reset_parameters()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(3):
    loss = model(torch.rand(8, 6, device="cuda")).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@rule(code="TW373", severity="error", depth="dry")
def find_on_tape(tape: Tape) -> Iterator[Hit]:
    """Follow the memory of parameters from where it was taken to where it is first read."""
    if not any(one.name.partition(".")[0] in _TAKES for one in tape.signatures):
        return
    taken: dict[int, Source] = {}
    unwritten: dict[Source, int] = {}
    for op in tape.ops:
        if op.phase in ("backward", "optimizer") or op.step > 1:
            break
        if op.phase in ("forward", "loss"):
            for number in {t.storage for t in op.inputs if t.kind == "parameter"} & taken.keys():
                source = taken.pop(number)
                unwritten[source] = unwritten.get(source, 0) + 1
        elif op.name.partition(".")[0] in _TAKES:
            taken.update((t.storage, op.source) for t in op.outputs)
        elif _writes(op):
            for tensor in (*op.inputs, *op.outputs):
                taken.pop(tensor.storage, None)
    for source, count in unwritten.items():
        yield Hit(
            place=place_of(source, tape),
            message=f"{count} parameter{'s begin' if count > 1 else ' begins'} with whatever was in the memory taken "
            "here: nothing writes it before the first step",
            fix="Call reset_parameters() of each module, or load weights, after to_empty().",
        )


_TAKES = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")


def _writes(op: Op) -> bool:
    """Tell whether an operation may write what it is given: whatever is not known to only read."""
    return op.name.partition(".")[0] not in _ONLY_READ or op.collective is not None


# Views, and what is done with shapes; anything else that a tensor goes into may be what fills it.
_ONLY_READ = frozenset(
    "detach alias view t transpose permute expand unsqueeze squeeze as_strided _to_copy clone".split()
)
