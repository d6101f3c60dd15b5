"""An attribute is read that nothing ever sets.

What it finds:
    `self.name` that is read in a method, where neither the class, nor what it descends from, nor what descends from it
    binds that name; one that `__init__` reads before its own line sets it; and a flag that `__init__` only sets if it
    is true, though other methods test it.

Why:
    AttributeError, where the line is reached: often only in validation, on a resume, or on several GPUs. The value may
    be kept under another name, so that a setting or a layer is not used.

How sure:
    Every class on the way is known, and none makes attributes by `setattr`, `__dict__` or `__getattr__`. Silent for
    classes that are made to be completed by others, and where the name stands in quotes, or another object's
    attribute is set by that name, anywhere in the project.
"""

from __future__ import annotations

import ast
import re
from bisect import bisect_right
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.attributes import (
    OF_MODULES,
    OUTSIDE,
    ancestors,
    bound_elsewhere,
    bound_in,
    own_attributes,
)
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import ProjectClass, Ref, Value

BAD = """\
import torch
from torch import nn


class Trainer:
    def __init__(self, model, valid_dataset):
        self.model = model
        self.valid_dataset = valid_dataset

    def validate(self):
        with torch.no_grad():
            return [self.model(x) for x in self.valid_ds]  # <- TW825
"""

GOOD = """\
import torch
from torch import nn


class Trainer:
    def __init__(self, model, valid_dataset):
        self.model = model
        self.valid_ds = valid_dataset

    def validate(self):
        with torch.no_grad():
            return [self.model(x) for x in self.valid_ds]
"""

_TO_BE_COMPLETED = re.compile(r"Base|Abstract|Mixin|MixIn|Interface|Protocol|Template|Test")
_ABSTRACT = frozenset({"abstractmethod", "NotImplementedError", "NotImplemented", "hasattr", "AttributeError"})
_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@rule(code="TW825", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the attributes of ``self`` by class."""
    if not analysis.source.words & {"torch", "numpy", "lightning"}:
        return
    loaded = _loaded(analysis)
    for cls in analysis.classes if loaded else ():
        inner = _reads(cls, loaded.get(cls.node, []))
        if inner:
            yield from _never(analysis, cls, inner)
        yield from _too_early(analysis, cls)
        yield from _on_one_way(analysis, cls)


def _never(analysis: Analysis, cls: ProjectClass, reads: dict[str, ast.Attribute]) -> Iterator[Hit]:
    """Yield reads of what nothing binds."""
    known = own_attributes(cls)
    if known is None or "__init__" not in known or not _sets_up(cls):
        return
    unset = [one for one in reads.values() if one.attr not in known]
    for node in unset if unset and not _is_to_be_completed(cls) else ():
        if not bound_elsewhere(analysis.source.path, cls, node.attr):
            yield Hit(
                place=analysis.source.place(node),
                message=f"nothing sets `self.{node.attr}`",
                fix=_near(node.attr, known),
            )


def _loaded(analysis: Analysis) -> dict[ast.ClassDef, list[ast.Attribute]]:
    """Return what each class reads of ``self`` and does not plainly set, before anything else is known."""
    classes = [one for one in analysis.nodes.get(ast.ClassDef, []) if isinstance(one, ast.ClassDef)]
    classes.sort(key=lambda one: one.lineno)
    starts = [one.lineno for one in classes]
    changed = {id(getattr(one, "target", None)) for one in analysis.nodes.get(ast.AugAssign, [])}
    reads: dict[ast.ClassDef, list[ast.Attribute]] = {}
    known = {one: {getattr(inner, "name", "") for inner in one.body} for one in classes}
    for node in analysis.nodes.get(ast.Attribute, []) if classes else ():
        if not isinstance(node, ast.Attribute) or not isinstance(node.value, ast.Name) or node.value.id != "self":
            continue
        cls = classes[bisect_right(starts, node.lineno) - 1]
        if isinstance(node.ctx, ast.Load) or id(node) in changed:
            reads.setdefault(cls, []).append(node)
        else:
            known[cls].add(node.attr)
    left = {cls: [one for one in nodes if one.attr not in known[cls] and one.attr not in OF_MODULES]
            for cls, nodes in reads.items()}  # fmt: skip
    return {cls: sorted(nodes, key=lambda one: one.lineno) for cls, nodes in left.items()}


def _reads(cls: ProjectClass, loaded: list[ast.Attribute]) -> dict[str, ast.Attribute]:
    """Return the first read of each name that the class itself does not bind, outside of classes within it."""
    node = cls.node
    if not loaded:
        return {}
    bound = bound_in(node)
    found: dict[str, ast.Attribute] = {}
    within = [one for one in nodes_of(node, ast.ClassDef) if one is not node]
    for one in loaded:
        inside = node.lineno <= one.lineno <= (node.end_lineno or 0)
        if not inside or one.attr in bound.names or one.attr.startswith("__"):
            continue
        if not any(other.lineno <= one.lineno <= (other.end_lineno or 0) for other in within):
            found.setdefault(one.attr, one)
    return found


def _is_to_be_completed(cls: ProjectClass) -> bool:
    """Say whether a class leaves something to those that descend from it."""
    if _TO_BE_COMPLETED.search(cls.node.name):
        return True
    return any(
        (getattr(node, "id", "") or getattr(node, "attr", "")) in _ABSTRACT
        for node in walk(cls.node)
        if isinstance(node, ast.Name | ast.Attribute)
    )


def _sets_up(cls: ProjectClass) -> bool:
    """Say whether a class, or one of its bases, has a constructor of its own that takes ``self``."""
    return any(
        isinstance(one, ast.FunctionDef) and one.name == "__init__" for base in ancestors(cls) for one in base.node.body
    )


def _near(name: str, known: frozenset[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, [one for one in known if not one.startswith("__")], n=1, cutoff=0.75)
    return f"`self.{near[0]}` is set: is that meant?" if near else "Set it in `__init__`."


def _too_early(analysis: Analysis, cls: ProjectClass) -> Iterator[Hit]:
    """Yield what ``__init__`` reads above the only line of the class that sets it."""
    init = next((one for one in cls.node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if init is None or not _reads_unset(init) or not all(_sets_nothing(base) for base in cls.bases):
        return
    set_at = _set_once(cls.node, init)
    for statement in init.body:
        if not isinstance(statement, ast.Assign | ast.Expr | ast.AnnAssign):
            return
        for node in walk(statement):
            if isinstance(node, ast.Lambda | _FUNCTIONS):
                return
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and _is_self(node.value):
                line = set_at.get(node.attr, 0)
                if line > (statement.end_lineno or statement.lineno):
                    yield Hit(
                        place=analysis.source.place(node),
                        message=f"`self.{node.attr}` is read here and set further down",
                        fix="Set it first.",
                    )


def _sets_nothing(base: Value) -> bool:
    """Say whether a base is known to set no attributes but its own, which nobody reads here."""
    known = (*OUTSIDE, "torch.nn.modules.module.Module")
    return isinstance(base, Ref) and (base.name in known or base.name.endswith(".LightningModule"))


def _reads_unset(init: ast.FunctionDef) -> bool:
    """Say whether a constructor's first plain statements read of ``self`` what a later one of its own sets."""
    own = {one.attr: statement.lineno for statement in reversed(init.body) for one in nodes_of(statement, ast.Attribute)
           if isinstance(one.ctx, ast.Store)}  # fmt: skip
    return any(
        isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Load) and own.get(one.attr, 0) > statement.lineno
        for statement in init.body
        for one in walk(statement)
    )


def _on_one_way(analysis: Analysis, cls: ProjectClass) -> Iterator[Hit]:
    """Yield flags that other methods test, and that ``__init__`` only sets if they are true."""
    init = next((one for one in cls.node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
    if init is None or any(isinstance(base, ProjectClass) for base in cls.bases) or _is_to_be_completed(cls):
        return
    branches = [one for one in init.body if isinstance(one, ast.If) and isinstance(one.test, ast.Name)]
    once = _set_once(cls.node, init) if branches else {}
    for branch in branches:
        if not isinstance(branch, ast.If) or branch.orelse or not isinstance(branch.test, ast.Name):
            continue
        for statement in branch.body:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else None
            if not isinstance(target, ast.Attribute) or not _is_self(target.value) or target.attr not in once:
                continue
            same = isinstance(statement, ast.Assign) and unparsed(statement.value) == branch.test.id
            read = next(_tests(cls.node, target.attr, init), None) if same else None
            if read is not None and not bound_elsewhere(analysis.source.path, cls, target.attr):
                yield Hit(
                    place=analysis.source.place(statement),
                    message=f"`self.{target.attr}` is only set if it is true, and is asked for otherwise, too",
                    fix="Set it outside of the branch.",
                )


def _tests(cls: ast.ClassDef, name: str, init: ast.FunctionDef) -> Iterator[ast.expr]:
    """Yield the tests of a flag in the methods besides the constructor."""
    for method in cls.body:
        for node in walk(method) if method is not init else ():
            if isinstance(node, ast.If | ast.IfExp | ast.While):
                asked = node.test.operand if isinstance(node.test, ast.UnaryOp) else node.test
                if isinstance(asked, ast.Attribute) and asked.attr == name and _is_self(asked.value):
                    yield asked


def _set_once(cls: ast.ClassDef, init: ast.FunctionDef) -> dict[str, int]:
    """Return the line of each attribute that one statement of ``__init__`` sets, and nothing else in the class."""
    lines: dict[str, list[int]] = {}
    for one in walk(cls):
        if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store) and _is_self(one.value):
            lines.setdefault(one.attr, []).append(one.lineno)
    members = {one.name for one in cls.body if isinstance(one, _FUNCTIONS | ast.ClassDef)}
    members |= {
        one.id
        for statement in cls.body
        if not isinstance(statement, _FUNCTIONS | ast.ClassDef)
        for one in nodes_of(statement, ast.Name)
    }
    own = {line for statement in init.body for line in range(statement.lineno, (statement.end_lineno or 0) + 1)}
    return {name: at[0] for name, at in lines.items() if len(at) == 1 and at[0] in own and name not in members}


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"
