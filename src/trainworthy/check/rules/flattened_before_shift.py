"""Tokens are flattened over the batch and then shifted.

What it finds:
    A loss gets `logits[:-1]` and `labels[1:]`, and `labels` was made by `view(-1)`, `reshape(-1)` or `flatten()` in the
    same function; or tokens are flattened, rolled and brought into shape again.

Why:
    The last token of each row is trained to predict the first token of the next row, which is another sample.

How sure:
    Certain for more than one row; a batch of one packed row is right and looks the same.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import followed, scope_of
from trainworthy.check.static.libraries import library_of
from trainworthy.check.static.queries import CROSS_ENTROPY, NLL, body_of, once_per_place
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
import torch.nn.functional as F


def step(model, ids):
    logits = model(ids).view(-1, 100)
    labels = ids.view(-1)
    return F.cross_entropy(logits[:-1], labels[1:])  # <- TW260
"""

GOOD = """\
import torch
import torch.nn.functional as F


def step(model, ids):
    logits = model(ids)[:, :-1].flatten(0, 1)
    labels = ids[:, 1:].flatten()
    return F.cross_entropy(logits, labels)
"""


@rule(code="TW260", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the arguments of losses over classes, and at rolls of what was flattened."""
    yield from _rolled(analysis)
    for call in once_per_place(analysis.calls(*CROSS_ENTROPY, *NLL)):
        scores, targets = call.argument_node(0, "input"), call.argument_node(1, "target")
        if not (_is_cut(scores, (None, -1)) and _is_cut(targets, (1, None))):
            continue
        flat = _flattened(targets, call.node.lineno, body_of(call.context))
        if flat is not None:
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="labels are shifted after the rows of the batch were joined: the last token of a row predicts "
                "the first of the next",
                evidence=(Evidence("they are joined here", analysis.place(flat, call.context)),),
                fix="Shift first: logits[:, :-1], labels[:, 1:]; then flatten.",
            )


def _rolled(analysis: Analysis) -> Iterator[Hit]:
    """Yield rolls over all axes of what has several, flattened for it: rows hand elements to their neighbours."""
    for call in nodes_of(analysis.source.tree, ast.Call) if "roll" in analysis.source.words else ():
        if last_name(call.func) != "roll" or not isinstance(call.func, ast.Attribute):
            continue
        function = library_of(analysis.source, call.func.value) in ("torch", "numpy")
        given = call.args[2:] if function else call.args[1:]
        of = call.args[0] if function and call.args else call.func.value
        scope = scope_of(call, analysis.parents)
        flat = followed(of, scope)
        if given or any(one.arg in ("dims", "axis") for one in call.keywords) or not _joins_all(flat):
            continue
        whole = unparsed(flat.func.value) if isinstance(flat, ast.Call) and isinstance(flat.func, ast.Attribute) else ""
        if _is_shaped_back(analysis, call, scope, whole):
            yield Hit(
                place=analysis.place(call),
                message=f"`{whole}` is rolled with its rows joined: the first of each row goes to the row before it",
                fix=f"Roll each row: `{whole}.roll(-1, dims=1)`, and leave out the target that comes round.",
            )


def _is_shaped_back(analysis: Analysis, call: ast.Call, scope: ast.AST, whole: str) -> bool:
    """Say whether what was rolled gets the shape of what was flattened, at once or by its name."""
    names = {
        target.id
        for one in nodes_of(scope, ast.Assign)
        if one.value is call
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    shapes = (whole, f"{whole}.shape", f"{whole}.size()", f"*{whole}.shape", f"*{whole}.size()")
    return any(
        isinstance(one.func, ast.Attribute)
        and one.func.attr in ("view", "reshape", "view_as", "reshape_as")
        and [unparsed(each) for each in one.args] in [[shape] for shape in shapes]
        and (one.func.value is call or getattr(one.func.value, "id", "") in names)
        for one in nodes_of(scope, ast.Call)
    )


def _is_cut(node: ast.expr | None, bounds: tuple[int | None, int | None]) -> bool:
    """Say whether a node is a name or call, sliced along its first axis only with these bounds."""
    if not isinstance(node, ast.Subscript) or not isinstance(node.slice, ast.Slice) or node.slice.step is not None:
        return False
    return (_number(node.slice.lower), _number(node.slice.upper)) == bounds


def _number(node: ast.expr | None) -> object:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return node


def _flattened(node: ast.expr | None, line: int, body: ast.AST) -> ast.AST | None:
    """Return the expression that joined all axes of what is sliced, if its last assignment before the line did."""
    if not isinstance(node, ast.Subscript):
        return None
    made: ast.expr = node.value
    if isinstance(made, ast.Name):
        name, earlier = made.id, []
        for one in walk(body):
            if isinstance(one, ast.Assign) and one.lineno < line:
                earlier += [one for t in one.targets if isinstance(t, ast.Name) and t.id == name]
        if not earlier:
            return None
        made = max(earlier, key=lambda one: one.lineno).value
    return made if _joins_all(made) else None


def _joins_all(node: ast.expr) -> bool:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.keywords:
        return False
    arguments = [_number(one) for one in node.args]
    return (node.func.attr in ("view", "reshape") and arguments == [-1]) or (
        node.func.attr == "flatten" and not arguments
    )
