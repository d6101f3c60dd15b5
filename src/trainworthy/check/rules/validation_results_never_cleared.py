"""What a validation gathers is never cleared, and the next one goes on with it.

What it finds:
    A list, dict or sum that a class makes once, in `__init__`; that `validation_step`, `training_step`, or a method
    called for each batch of an evaluation, adds to; that the end of the epoch makes a mean of; that nothing empties.

Why:
    The second validation gives the mean over both, the tenth over ten: what is printed lags behind and the choice of
    the best epoch with it. What is kept grows from epoch to epoch.

How sure:
    The class and its bases in the project empty or replace it nowhere, and nobody else writes to it. Silent about what
    is gathered in tests, which run once, and about histories that are only drawn.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.tree import nodes_of, walk
from trainworthy.check.static.values import Function, ProjectClass

BAD = """\
import lightning
import torch


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 1)
        self.validation_losses = []

    def validation_step(self, batch, index):
        self.validation_losses.append(self.net(batch).mean())

    def on_validation_epoch_end(self):
        self.log("loss", torch.stack(self.validation_losses).mean())  # <- TW383
"""

GOOD = """\
import lightning
import torch


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(4, 1)
        self.validation_losses = []

    def validation_step(self, batch, index):
        self.validation_losses.append(self.net(batch).mean())

    def on_validation_epoch_end(self):
        self.log("loss", torch.stack(self.validation_losses).mean())
        self.validation_losses.clear()
"""

_MEANS = frozenset("mean sum stack cat vstack hstack concatenate concat len average nanmean median".split())
_GROWS = frozenset({"append", "extend", "update", "add"})
_EVALUATES = re.compile(r"val|eval", re.IGNORECASE)
_LASTS = re.compile(r"Loop|Trainer|Runner|Solver|Learner|Engine")
_ENDS = {
    "validation_step": ("on_validation_epoch_end", "validation_epoch_end", "on_validation_end"),
    "training_step": ("on_train_epoch_end", "training_epoch_end"),
}


@rule(code="TW383", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at classes that evaluate."""
    words = analysis.source.words
    if "torch" not in words or "self" not in words or not words & {"validation_step", "training_step", "eval"}:
        return
    for cls in analysis.classes:
        methods = _methods(cls)
        for end, step in _pairs(cls, methods):
            yield from _never_cleared(analysis, methods, end, step)


def _methods(cls: ProjectClass) -> dict[str, ast.FunctionDef]:
    """Return the methods of a class with those that it inherits in the project."""
    found: dict[str, ast.FunctionDef] = {}
    for one in cls.order():
        for name, member in one.members.items():
            if isinstance(member, Function) and isinstance(member.node, ast.FunctionDef):
                found.setdefault(name, member.node)
    return found


def _pairs(cls: ProjectClass, methods: dict[str, ast.FunctionDef]) -> Iterator[tuple[ast.FunctionDef, ast.FunctionDef]]:
    """Yield what ends an evaluation, and what runs for each of its batches."""
    own = {id(one) for one in cls.node.body}
    for step, ends in _ENDS.items():
        for name in ends:
            if name in methods and step in methods and id(methods[step]) in own:
                yield methods[name], methods[step]
    if not _LASTS.search(cls.node.name):
        return
    for name, method in methods.items():
        if id(method) not in own or not (_EVALUATES.search(name) or _EVALUATES.search(cls.node.name)):
            continue
        if not any(isinstance(one, ast.Attribute) and one.attr == "eval" for one in walk(method)):
            continue
        for loop in walk(method):
            for inner in _called_on_self(loop) if isinstance(loop, ast.For) else ():
                if inner in methods and methods[inner] is not method:
                    yield method, methods[inner]


def _called_on_self(loop: ast.For) -> set[str]:
    return {
        one.func.attr
        for one in nodes_of(loop, ast.Call)
        if isinstance(one.func, ast.Attribute) and _is_self(one.func.value)
    }


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _never_cleared(
    analysis: Analysis, methods: dict[str, ast.FunctionDef], end: ast.FunctionDef, step: ast.FunctionDef
) -> Iterator[Hit]:
    begun = _begun(methods.get("__init__"))
    for at in walk(step):
        name = _grown(at)
        if name not in begun or not _means(end, name):
            continue
        if any(_may_clear(method, name, step) for other, method in methods.items() if other != "__init__"):
            continue
        if _cleared_outside(analysis, name):
            continue
        begun.discard(name)
        read = _first_read(end, name) if end in analysis.nodes.get(ast.FunctionDef, []) else at
        yield Hit(
            place=analysis.place(read),
            message=f"`self.{name}` still holds what was gathered in the epochs before: nothing empties it",
            evidence=(Evidence("it grows here", analysis.place(at)),),
            fix=f"Empty `self.{name}` at the end of `{end.name}`.",
        )


def _first_read(end: ast.FunctionDef, name: str) -> ast.AST:
    reads = [one for one in nodes_of(end, ast.Attribute) if one.attr == name and _is_self(one.value)]
    return min(reads, key=lambda one: (one.lineno, one.col_offset))


def _begun(init: ast.FunctionDef | None) -> set[str]:
    """Return the attributes that a constructor makes empty."""
    found: set[str] = set()
    for one in walk(init) if init is not None else ():
        target = (
            one.targets[0] if isinstance(one, ast.Assign) else one.target if isinstance(one, ast.AnnAssign) else None
        )
        value = getattr(one, "value", None)
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            pairs = list(zip(target.elts, value.elts, strict=True))
        found |= {at.attr for at, given in pairs if isinstance(at, ast.Attribute) and _is_self(at.value)
                  and given is not None and _is_empty(given)}  # fmt: skip
    return found


def _is_empty(node: ast.expr) -> bool:
    if isinstance(node, ast.List | ast.Tuple):
        return not node.elts
    if isinstance(node, ast.Dict):
        return not node.keys or all(_is_empty(one) for one in node.values)
    if isinstance(node, ast.Constant):
        return node.value == 0 and not isinstance(node.value, bool)
    name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
    return name == "defaultdict" or (name in ("list", "dict") and not getattr(node, "args", [0]))


def _grown(node: ast.AST) -> str:
    """Return the attribute of self that a statement adds to; "" if none."""
    target: ast.expr | None = None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _GROWS:
        target = node.func.value
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        target = node.target
    while isinstance(target, ast.Subscript):
        target = target.value
    return target.attr if isinstance(target, ast.Attribute) and _is_self(target.value) else ""


def _means(end: ast.FunctionDef, name: str) -> bool:
    """Say whether a method makes a number of all that was gathered."""
    reads = any(isinstance(one, ast.Attribute) and one.attr == name and _is_self(one.value) for one in walk(end))
    called = {getattr(one.func, "attr", getattr(one.func, "id", "")) for one in nodes_of(end, ast.Call)}
    divides = any(isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div) for one in walk(end))
    return reads and (bool(called & _MEANS) or divides)


def _may_clear(method: ast.FunctionDef, name: str, step: ast.FunctionDef) -> bool:
    """Say whether a method may empty an attribute, or hand it to somebody who does."""
    for one in walk(method):
        if isinstance(one, ast.Call):
            called = getattr(one.func, "attr", getattr(one.func, "id", ""))
            if called in ("clear", "pop", "popitem", "setattr", "free", "__init__") or "reset" in called:
                return True
        if isinstance(one, ast.Delete):
            return True
        if (
            isinstance(one, ast.Attribute)
            and one.attr == name
            and isinstance(one.ctx, ast.Store)
            and method is not step
        ):
            return True
        if isinstance(one, ast.Assign) and any(
            _is_written_into(target, name, method is step) for target in one.targets
        ):
            return True
    return False


def _is_written_into(target: ast.expr, name: str, in_step: bool) -> bool:
    """Say whether an assignment replaces an attribute, or, but for the step, what stands in it."""
    if isinstance(target, ast.Tuple):
        return any(_is_written_into(one, name, in_step) for one in target.elts)
    while isinstance(target, ast.Subscript) and not in_step:
        target = target.value
    return isinstance(target, ast.Attribute) and target.attr == name


def _cleared_outside(analysis: Analysis, name: str) -> bool:
    """Say whether another program of the project replaces or empties an attribute of that name."""
    writes = re.compile(rf"(?<!self)\.{name}\s*(=[^=]|\.clear\(|\[:\]\s*=)|setattr\([^)]*['\"]{name}['\"]")
    texts = [analysis.source.text, *map(text_of, project_files(analysis.source.path) or ())]
    return any(name in text and writes.search(text) for text in texts)
