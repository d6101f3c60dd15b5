"""A loader's iterator is made before the loader's state is restored.

What it finds:
    `batches = iter(loader)`, and after it `loader.load_state_dict(...)`, or a call named `load`, `restore` or `resume`
    that gets the loader, while `next(batches)` goes on with the old iterator.

Why:
    With workers, `iter` starts them with a copy of the state as it was: what is restored later never reaches them, and
    a resumed run begins its data anew.

How sure:
    Both stand in one function, in this order, and the iterator is not made again in between.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import children, unparsed

BAD = """\
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

loader = StatefulDataLoader(list(range(100)), batch_size=4, num_workers=2)
batches = iter(loader)  # <- TW643
loader.load_state_dict(torch.load("loader.pt", weights_only=True))
for step in range(10):
    print(next(batches))
"""

GOOD = """\
import torch
from torchdata.stateful_dataloader import StatefulDataLoader

loader = StatefulDataLoader(list(range(100)), batch_size=4, num_workers=2)
loader.load_state_dict(torch.load("loader.pt", weights_only=True))
batches = iter(loader)
for step in range(10):
    print(next(batches))
"""

_RESTORES = re.compile(r"^(load|restore|resume)(_state_dict|_checkpoint|_state)?$")


@rule(code="TW643", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at iterators that are kept in a variable."""
    if "iter" not in analysis.source.words:
        return
    for body in _bodies(analysis):
        made = [
            node
            for node in _own_nodes(body)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and getattr(node.value.func, "id", "") == "iter"
            and len(node.value.args) == 1
        ]
        for one in made:
            yield from _restored_later(analysis, body, one)


def _restored_later(analysis: Analysis, body: ast.AST, made: ast.Assign) -> Iterator[Hit]:
    value = made.value
    loader = unparsed(value.args[0]) if isinstance(value, ast.Call) else ""
    name = unparsed(made.targets[0])
    after = [one for one in _own_nodes(body) if getattr(one, "lineno", 0) > (made.end_lineno or made.lineno)]
    restores = [one for one in after if isinstance(one, ast.Call) and _restores(one, loader)]
    if not restores or "loader" not in loader.lower():
        return
    first = min(restores, key=lambda one: one.lineno)
    again = any(
        isinstance(one, ast.Assign) and any(unparsed(target) in (name, loader) for target in one.targets)
        for one in after
    )
    used = any(
        isinstance(one, ast.Call)
        and getattr(one.func, "id", "") == "next"
        and one.lineno > first.lineno
        and one.args
        and unparsed(one.args[0]) == name
        for one in after
    )
    if used and not again:
        yield Hit(
            place=analysis.source.place(made),
            message=f"`{name}` is made before the state of `{loader}` is restored, and goes on without it",
            evidence=(Evidence("it is restored here", analysis.source.place(first)),),
            fix="Make the iterator after it.",
        )


def _restores(call: ast.Call, loader: str) -> bool:
    if not isinstance(call.func, ast.Attribute) or not _RESTORES.match(call.func.attr):
        return False
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    given = [unparsed(one.body if isinstance(one, ast.IfExp) else one) for one in values]
    return unparsed(call.func.value) == loader or loader in given


def _bodies(analysis: Analysis) -> Iterator[ast.AST]:
    yield analysis.source.tree
    yield from analysis.nodes.get(ast.FunctionDef, [])


def _own_nodes(body: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a body without those of functions and classes in it."""
    left = list(children(body))
    while left:
        node = left.pop()
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node
            left.extend(children(node))
