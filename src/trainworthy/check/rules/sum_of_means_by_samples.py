"""Means of batches are added up and divided by the number of samples.

What it finds:
    `total += loss.item()` in a loop over a loader, where the loss is the mean of its batch, and
    `total / len(loader.dataset)`, or the length of the data set that the loader was made of.

Why:
    A sum of means has as many terms as there are batches. What comes out is too small by about the batch size: it
    changes with it, and it compares with nothing, not with the training loss beside it.

How sure:
    The loss is one of torch's with its default reduction, the one that a network of Transformers gives, `mean()`
    without an axis, or a sum of these, and is not multiplied by anything that is a count. Silent with batches of one
    sample, also of a loader that is handed over and may come from another file of the project. Said once of a sum.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import scope_of
from trainworthy.check.static.batch_means import is_batch_mean, stripped
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import torch
import torch.nn.functional as F


def evaluate(model, loader):
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += F.cross_entropy(model(x), y).item()
    return total / len(loader.dataset)  # <- TW572
"""

GOOD = """\
import torch
import torch.nn.functional as F


def evaluate(model, loader):
    total = 0.0
    with torch.no_grad():
        for x, y in loader:
            total += F.cross_entropy(model(x), y, reduction="sum").item()
    return total / len(loader.dataset)
"""

_ONE = re.compile(r"batch_size\s*=\s*1\b|batch_size['\"]\s*:\s*1\b")
_ONE_OF_LOADER = re.compile(r"DataLoader\([^()]*\bbatch_size\s*=\s*1\b")


@rule(code="TW572", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at divisions by the length of a data set."""
    if not {"torch", "len"} <= analysis.source.words or _ONE.search(analysis.source.code):
        return
    seen: set[ast.AST] = set()
    for quotient in [*analysis.nodes.get(ast.BinOp, []), *analysis.nodes.get(ast.AugAssign, [])]:
        parts = _divided(quotient)
        data = _counted(parts[1]) if parts is not None else None
        if parts is None or data is None or _is_scaled(analysis.parents.get(quotient)):
            continue
        around = scope_of(quotient, analysis.parents)
        for added, loop in _added(around, unparsed(parts[0])):
            outside = not any(one is quotient for one in walk(loop))
            means = outside and _is_over(analysis, loop.iter, data) and is_batch_mean(analysis, around, added.value)
            if means and added not in seen and not _may_be_one_by_one(analysis, around, data):
                seen.add(added)
                yield Hit(
                    place=analysis.place(quotient),
                    message=f"means of batches are added up and divided by the number of samples, `len({data})`",
                    evidence=(Evidence("a mean is added here", analysis.place(added)),),
                    fix="Divide by the number of batches, or add `loss.item() * len(x)`.",
                )
                break


def _may_be_one_by_one(analysis: Analysis, around: ast.AST, data: str) -> bool:
    """Say whether a loader is handed to a function, and what the project binds to its name may have batches of one."""
    name = data.partition(".")[0]
    if name not in {one.arg for one in nodes_of(around, ast.arg)} - {"self"}:
        return False
    texts = [text_of(one) for one in project_files(analysis.source.path) or ()]
    bound = re.compile(rf"\b{re.escape(name)}\b[\w \t,]*=\s*[\w.]*?(\w+)(\([^()]*)")
    made = [one for text in texts if name in text for one in bound.findall(text)]
    makers = [re.compile(rf"\b(def|class)\s+{re.escape(called)}\b") for called, _ in made]
    return any(_ONE_OF_LOADER.search(called + given) for called, given in made) or any(
        _ONE_OF_LOADER.search(text) and any(one.search(text) for one in makers) for text in texts
    )


def _divided(node: ast.AST) -> tuple[ast.expr, ast.expr] | None:
    """Return what is divided by what; not if the quotient is scaled by something else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return stripped(node.left), node.right
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
        return node.target, node.value
    return None


def _is_scaled(parent: ast.AST | None) -> bool:
    """Say whether a quotient is multiplied by something, as by the batch size."""
    return isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mult)


def _counted(node: ast.expr) -> str | None:
    """Write what a length is taken of."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("float", "int") and len(node.args) == 1:
        node = node.args[0]
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "len" and len(node.args) == 1:
        return unparsed(node.args[0])
    return None


def _added(around: ast.AST, total: str) -> Iterator[tuple[ast.AugAssign, ast.For]]:
    """Yield what is added to a total, with the innermost loop around it."""
    found: dict[ast.AugAssign, ast.For] = {}
    for loop in nodes_of(around, ast.For):
        for one in walk(loop):
            if isinstance(one, ast.AugAssign) and isinstance(one.op, ast.Add) and unparsed(one.target) == total:
                found[one] = loop  # inner loops come later
    return iter(found.items())


def _is_over(analysis: Analysis, over: ast.expr, data: str) -> bool:
    """Say whether a loop goes over the batches of a data set."""
    loader = unparsed(_unwrapped(over))
    if data == f"{loader}.dataset":
        return True
    for one in analysis.nodes.get(ast.Assign, []):
        if isinstance(one, ast.Assign) and loader in [unparsed(target) for target in one.targets]:
            value = one.value
            called = unparsed(value.func) if isinstance(value, ast.Call) else ""
            if value is not _unwrapped(value) and data == f"{unparsed(_unwrapped(value))}.dataset":
                return True
            if called.rpartition(".")[2] == "DataLoader" and data in [unparsed(given) for given in value.args[:1]]:  # type: ignore[attr-defined]
                return True
    return False


def _unwrapped(over: ast.expr) -> ast.expr:
    """Look through what only counts or shows the turns of a loop."""
    while isinstance(over, ast.Call) and over.args and getattr(over.func, "attr", getattr(over.func, "id", "")) in (
        "enumerate", "tqdm", "iter", "track", "trange", "progress_bar",
    ):  # fmt: skip
        over = over.args[0]
    return over
