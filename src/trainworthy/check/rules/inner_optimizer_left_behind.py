"""An optimizer that updates by another one loses it when a checkpoint is loaded.

What it finds:
    A class of an optimizer whose `__init__` makes another optimizer and shares its groups, by
    `self.param_groups = self.base_optimizer.param_groups`, whose `step` uses the other one, and which does not define
    `load_state_dict`.

Why:
    `Optimizer.load_state_dict` puts new groups in the place of the old ones. From then on a scheduler, and the learning
    rate of the checkpoint, change groups that the update never reads, and the moments that were saved are in a state
    that nobody uses: training goes on with the first learning rate.

How sure:
    Sure, if a checkpoint is loaded. That is not looked for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.libraries import full_name
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


class SAM(torch.optim.Optimizer):
    def __init__(self, params, base_optimizer, **kwargs):
        super().__init__(params, kwargs)
        self.base_optimizer = base_optimizer(self.param_groups, **kwargs)
        self.param_groups = self.base_optimizer.param_groups  # <- TW654

    def step(self, closure=None):
        self.base_optimizer.step()
"""
GOOD = (
    BAD.replace("  # <- TW654", "")
    + """\

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.base_optimizer.param_groups = self.param_groups
"""
)
_OWN = frozenset({"load_state_dict", "__setstate__"})


@rule(code="TW654", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at classes that share the groups of another optimizer."""
    if "param_groups" not in analysis.source.words:
        return
    for node in analysis.nodes.get(ast.ClassDef, ()):
        if not isinstance(node, ast.ClassDef) or not _is_optimizer(analysis, node):
            continue
        methods = {one.name: one for one in node.body if isinstance(one, ast.FunctionDef)}
        shared = _shared(methods["__init__"]) if "__init__" in methods else None
        if shared is None or _OWN & set(methods):
            continue
        statement, inner = shared
        steps = [one for name, method in methods.items() if name != "__init__" for one in _steps(method, inner)]
        if steps:
            yield Hit(
                place=analysis.place(statement),
                message=f"`load_state_dict` gives this optimizer new groups, and `self.{inner}` keeps the old ones",
                evidence=(Evidence("it makes the update here", analysis.place(steps[0])),),
                fix=f"Define `load_state_dict`, and set `self.{inner}.param_groups = self.param_groups` in it.",
            )


def _is_optimizer(analysis: Analysis, node: ast.ClassDef) -> bool:
    return any(full_name(analysis.source, one).rpartition(".")[2] == "Optimizer" for one in node.bases)


def _shared(init: ast.FunctionDef) -> tuple[ast.Assign, str] | None:
    """Return the statement that takes the groups of an attribute for one's own, and the attribute."""
    for one in walk(init):
        if isinstance(one, ast.Assign) and [unparsed(t) for t in one.targets] == ["self.param_groups"]:
            value = one.value
            of = value.value if isinstance(value, ast.Attribute) and value.attr == "param_groups" else None
            if isinstance(of, ast.Attribute) and unparsed(of.value) == "self":
                return one, of.attr
    return None


def _steps(method: ast.FunctionDef, inner: str) -> Iterator[ast.Call]:
    for one in walk(method):
        if isinstance(one, ast.Call) and unparsed(one.func) == f"self.{inner}.step":
            yield one
