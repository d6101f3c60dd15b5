"""Something is copied onto itself.

What it finds:
    `setattr(model, name, getattr(model, name))`, `target.load_state_dict(target.state_dict())`,
    `p.data.copy_(p.data)` and `zip(net.parameters(), net.parameters())`: the source of a copy is its target.

Why:
    Nothing is copied. The averaged or target network stays what it was made as, and what should have been taken over
    is not.

How sure:
    Both sides are written alike, and hold no call that may give another object each time. Silent in tests and about the
    states of optimizers and schedules, which are loaded back to see whether they fit.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import nodes_of, unparsed

BAD = """\
import torch


def follow(net, target_net):
    target_net.load_state_dict(target_net.state_dict())  # <- TW877
    for name in ("steps", "names"):
        setattr(net, name, getattr(net, name))  # <- TW877
"""

GOOD = """\
import torch


def follow(net, target_net):
    target_net.load_state_dict(net.state_dict())
    for name in ("steps", "names"):
        setattr(target_net, name, getattr(net, name))
"""

_NO_MODEL = re.compile(r"opt|sched|scaler", re.IGNORECASE)
_PAIRED = frozenset({"parameters", "buffers", "modules", "children"})


@rule(code="TW877", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls that copy."""
    if "torch" not in analysis.source.words or is_a_test(analysis.source):
        return
    for node in analysis.nodes.get(ast.Call, []):
        same = _copied(node) if isinstance(node, ast.Call) else None
        if same is not None:
            yield Hit(
                place=analysis.place(node),
                message=f"`{unparsed(same)}` is copied onto itself",
                fix="Is another one meant on one of the two sides?",
            )


def _copied(call: ast.Call) -> ast.expr | None:
    """Return what a call copies onto itself; None if it does not."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name == "setattr" and len(call.args) == 3:
        return call.args[0] if _is_getattr(call.args[2], call.args[0], call.args[1]) else None
    if name == "zip" and len(call.args) == 2 and _is_alike(*call.args):
        first = call.args[0]
        lists_parts = isinstance(first, ast.Call) and getattr(first.func, "attr", "") in _PAIRED
        return first if lists_parts else None
    if not isinstance(call.func, ast.Attribute) or not call.args:
        return None
    target, given = call.func.value, call.args[0]
    if name == "load_state_dict":
        func = given.func if isinstance(given, ast.Call) and not given.args else None
        if not isinstance(func, ast.Attribute) or func.attr != "state_dict" or _NO_MODEL.search(unparsed(target)):
            return None
        return target if _is_alike(target, func.value) else None
    return target if name == "copy_" and _is_alike(_without_data(target), _without_data(given)) else None


def _is_getattr(value: ast.expr, holder: ast.expr, name: ast.expr) -> bool:
    """Say whether a value is the attribute of that name of that holder, as it is."""
    if not isinstance(value, ast.Call) or getattr(value.func, "id", "") != "getattr" or len(value.args) < 2:
        return False
    return len(value.args) == 2 and _is_alike(value.args[0], holder) and _is_alike(value.args[1], name)


def _without_data(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute) and node.attr == "data":
        node = node.value
    return node


def _is_alike(first: ast.expr, second: ast.expr) -> bool:
    """Say whether two expressions are written alike, and are the same in both places: no call makes them anew."""
    if unparsed(first) != unparsed(second):
        return False
    calls = nodes_of(first, ast.Call)
    return all(getattr(one.func, "attr", "") in _PAIRED for one in calls)
