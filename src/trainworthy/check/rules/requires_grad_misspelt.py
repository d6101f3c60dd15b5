"""An attribute called `require_grad`.

What it finds:
    Assignments to `.require_grad`. In a loop over `model.parameters()` also `p.trainable = False`, `p.freeze = True`,
    or `p.model = False`, where nothing in the file reads such an attribute; `p.requires_gradient` and `p.trainable`
    also where they are given a variable.

Why:
    The attribute is `requires_grad`. Python makes a new one, and nothing is frozen.

How sure:
    Certain of the name. What another file may read from parameters is not known; the names that are looked at speak of
    gradients or training, or are the model's own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Edit, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch

model = torch.nn.Linear(4, 1)
for p in model.parameters():
    p.require_grad = False  # <- TW314
"""

GOOD = """\
import torch

model = torch.nn.Linear(4, 1)
for p in model.parameters():
    p.requires_grad = False
"""


@rule(code="TW314", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes that are assigned."""
    yield from _of_parameters(analysis)
    if not analysis.source.words.intersection(_WRONG):
        return
    for node in analysis.nodes.get(ast.Attribute, ()):
        if isinstance(node, ast.Attribute) and node.attr in _WRONG and isinstance(node.ctx, ast.Store):
            if getattr(node.value, "id", "") == "self":
                continue  # an attribute of a class of one's own, which may be called anything
            place = analysis.place(node)
            end = place.end_column or 1
            name = place._replace(line=place.end_line or place.line, column=end - len(node.attr))
            yield Hit(
                place=place,
                message=f"`{node.attr}` is a new attribute; torch reads `requires_grad`",
                fix="Write `requires_grad`.",
                edits=(Edit(name, "requires_grad"),),
            )


_WRONG = ("require_grad", "requires_grads", "require_grads", "required_grad")
_MEANT = re.compile(r"grad|^(is_)?(trainable|frozen|freeze|train|training|learnable|updat(e|able))$")

_SURELY = re.compile(r"requires?d?_?grad|(is_)?(trainable|frozen|learnable)$")  # whatever it is given


def _of_parameters(analysis: Analysis) -> Iterator[Hit]:
    """Yield attributes that the parameters of a model get one by one, and that nothing reads."""
    if "parameters" not in analysis.source.words:
        return
    for loop in analysis.nodes.get(ast.For, ()):
        model = _whose_parameters(loop)
        if not isinstance(loop, ast.For) or not model:
            continue
        for one in loop.body:
            target = one.targets[0] if isinstance(one, ast.Assign) else None
            if not isinstance(target, ast.Attribute) or not isinstance(one, ast.Assign):
                continue
            value = getattr(one.value, "value", None)
            said = isinstance(value, bool) or (
                _SURELY.match(target.attr) and isinstance(one.value, ast.Name | ast.UnaryOp)
            )
            own = unparsed(target.value) == unparsed(loop.target) and said
            known = target.attr in ("requires_grad", *_WRONG) or _is_read(analysis, target.attr)
            if own and not known and (_MEANT.search(target.attr) or (target.attr == model and value is False)):
                yield Hit(
                    place=analysis.place(target),
                    message=f"`{target.attr}` is a new attribute of each parameter, which nothing reads; torch reads "
                    "`requires_grad`",
                    fix="Write `requires_grad`.",
                )


def _whose_parameters(loop: ast.AST) -> str:
    """Return the last name of the model over whose parameters a loop goes; "" if it does not."""
    call = loop.iter if isinstance(loop, ast.For) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "parameters":
        return ""
    return unparsed(call.func.value).rpartition(".")[2]


def _is_read(analysis: Analysis, name: str) -> bool:
    reads = (one for one in analysis.nodes.get(ast.Attribute, ()) if getattr(one, "attr", "") == name)
    texts = (one for one in analysis.nodes.get(ast.Constant, ()) if getattr(one, "value", None) == name)
    return any(isinstance(getattr(one, "ctx", None), ast.Load) for one in reads) or any(True for _ in texts)
