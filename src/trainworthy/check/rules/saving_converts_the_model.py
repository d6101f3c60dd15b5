"""Saving a checkpoint converts the live model to half precision.

What it finds:
    `model.half()` or `model.bfloat16()` as what a checkpoint's dict holds, in a loop that goes on training, without a
    copy.

Why:
    `Module.half()` converts the module itself. The weights that train on are rounded to 16 bits at every checkpoint,
    also if `.float()` comes afterwards, and the optimizer's state no longer belongs to them.

How sure:
    The module is converted in place in a dict beside the optimizer's state or in `torch.save`, in a function that
    also calls `backward`. Silent if it is copied first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Call
from trainworthy.check.static.queries import body_of, names_in, once_per_place, receiver
from trainworthy.check.static.tree import walk

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters())
for epoch in range(10):
    optimizer.zero_grad()
    model(torch.rand(8, 4)).mean().backward()
    optimizer.step()
    state = {
        "epoch": epoch,
        "model": model.half(),  # <- TW641
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, "last.pt")
    model.float()
"""

GOOD = """\
import copy
import torch

model = torch.nn.Linear(4, 1)
optimizer = torch.optim.Adam(model.parameters())
for epoch in range(10):
    optimizer.zero_grad()
    model(torch.rand(8, 4)).mean().backward()
    optimizer.step()
    state = {
        "epoch": epoch,
        "model": copy.deepcopy(model).half(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(state, "last.pt")
"""

_MODELS = frozenset({"model", "net", "module", "ema", "network", "generator", "discriminator"})


@rule(code="TW641", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at conversions below a dict that is a checkpoint."""
    inside = _in_checkpoints(analysis)
    for call in once_per_place(analysis.method_calls("half", "bfloat16")):
        if call.node not in inside or not call.context.in_loop or not _is_live_model(call):
            continue
        if not any(getattr(one, "attr", "") == "backward" for one in walk(body_of(call.context))):
            continue
        yield Hit(
            place=analysis.place(call.node, call.context),
            message=f"`{call.method}()` converts the model that is training, not a copy for the checkpoint",
            fix=f"Write `copy.deepcopy(model).{call.method}()`, or convert the tensors of its state dict.",
        )


def _in_checkpoints(analysis: Analysis) -> set[ast.AST]:
    """Return what stands in dicts that hold an optimizer's state, too, or in `torch.save`."""
    found: set[ast.AST] = set()
    for node in analysis.nodes.get(ast.Dict, ()):
        keys = {key.value for key in node.keys if isinstance(key, ast.Constant)}  # type: ignore[attr-defined]
        if any(isinstance(key, str) and key.startswith("opt") for key in keys):
            found |= set(walk(node))
    for call in analysis.calls("torch.save"):
        found |= {inner for argument in call.node.args[:1] for inner in walk(argument)}
    return found


def _is_live_model(call: Call) -> bool:
    func = call.node.func
    if "copy" in receiver(call) or not isinstance(func, ast.Attribute):
        return False
    if is_module(call.owner):
        return True
    if not call.name.startswith("?."):
        return False
    return bool(_MODELS & names_in(func.value)) and not any(isinstance(one, ast.Call) for one in _results(func.value))


def _results(node: ast.expr) -> list[ast.expr]:
    return [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
