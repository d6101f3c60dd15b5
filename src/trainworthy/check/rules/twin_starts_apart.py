"""A target network starts with other weights than the network that it follows.

What it finds:
    `self.policy_old = Net(...)` beside `self.policy = Net(...)` of the same class and arguments, where nothing gives
    the one the other's weights at the start.

Why:
    Each instance is initialised by chance. Targets come from a network that nobody trained, until the first full copy;
    with a slow average (`tau`) for thousands of steps.

How sure:
    The name says target, old or ema; a teacher may have learned elsewhere. Silent if weights are loaded, copied or
    shared anywhere in the function that makes both, if a method called there does it, or if all are copied every so
    many steps.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.facts import Store
from trainworthy.check.static.queries import body_of
from trainworthy.check.static.tree import unparsed, walk
from trainworthy.check.static.values import Instance

BAD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Linear(width, width)

    def forward(self, x):
        return self.body(x)


class Agent:
    def __init__(self, width):
        self.policy = Net(width)
        self.policy_old = Net(width)  # <- TW317
        self.optimizer = torch.optim.Adam(self.policy.parameters())
"""

GOOD = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.body = nn.Linear(width, width)

    def forward(self, x):
        return self.body(x)


class Agent:
    def __init__(self, width):
        self.policy = Net(width)
        self.policy_old = Net(width)
        self.policy_old.load_state_dict(self.policy.state_dict())
        self.optimizer = torch.optim.Adam(self.policy.parameters())
"""

_FOLLOWS = frozenset({"target", "tgt", "targ", "old", "ema"})
_LEADS = frozenset(
    {"online", "main", "local", "current", "student", "eval", "policy", "new", "learner", "net", "model"}
)
_SAME = re.compile(
    r"load_state_dict|copy|zip\(|update|sync|share|load|\.data\b|init_target|hard|interpolate|clone|from_pretrained"
)


@rule(code="TW317", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at pairs of networks of one class that one function makes."""
    words = analysis.source.words
    if "torch" not in words or not any(part in _FOLLOWS for word in words for part in word.lower().split("_")):
        return
    bodies: dict[ast.AST, dict[str, Store]] = {}
    for store in analysis.stores:
        value = store.value
        made = value.made_by if isinstance(value, Instance) else None
        if made is None or store.context.source is not analysis.source or not _is_made_in(made.node, store):
            continue
        if (
            isinstance(value, Instance)
            and value.cls is not None
            and is_module(value)
            and isinstance(store.target, ast.Name | ast.Attribute)
        ):
            bodies.setdefault(body_of(store.context), {})[unparsed(store.target)] = store
    for body, stores in bodies.items():
        for name, store in stores.items():
            leader = _leader(name, store, stores)
            if leader is not None and not _made_alike(analysis, body, name) and not _copied_by_count(analysis, name):
                yield Hit(
                    place=analysis.place(store.node),
                    message=f"`{name}` starts with other weights than `{leader}`",
                    evidence=(Evidence("the network that it follows", analysis.place(stores[leader].node)),),
                    fix=f"Write `{name}.load_state_dict({leader}.state_dict())`.",
                )


def _is_made_in(node: ast.AST, store: Store) -> bool:
    """Say whether a statement makes what it assigns, and hands it on only to `to` and the like."""
    value = getattr(store.node, "value", None)
    while isinstance(value, ast.Call) and value is not node and isinstance(value.func, ast.Attribute):
        value = value.func.value
    return value is node


def _leader(name: str, store: Store, stores: dict[str, Store]) -> str | None:
    """Return the network that another is called after and made like."""
    parts = _parts(name)
    if not parts & _FOLLOWS:
        return None
    made = getattr(store.node, "value", None)
    for other, one in stores.items():
        if other == name or not isinstance(made, ast.Call):
            continue
        same = unparsed(made) == unparsed(getattr(one.node, "value", made))
        theirs = _parts(other)
        if same and not theirs & (_FOLLOWS) and (parts - _FOLLOWS) <= theirs:
            return other
    return None


def _copied_by_count(analysis: Analysis, name: str) -> bool:
    """Say whether all weights are copied every so many steps: then the first step does it, too."""
    for one in analysis.nodes.get(ast.If, []):
        if isinstance(one, ast.If) and any(isinstance(getattr(n, "op", None), ast.Mod) for n in walk(one.test)):
            text = unparsed(one)
            if name.rpartition(".")[2] in text and re.search(r"load_state_dict|copy|update|sync", text):
                return True
    return False


def _parts(name: str) -> set[str]:
    return set(name.rpartition(".")[2].lower().split("_")) - {""}


def _made_alike(analysis: Analysis, body: ast.AST, name: str) -> bool:
    """Say whether a function gives a network other weights, or trains it by itself."""
    last = name.rpartition(".")[2]
    for one in walk(body):
        if not isinstance(one, ast.Call):
            continue
        text = unparsed(one)
        if _SAME.search(unparsed(one.func)) or (last in text and ("optim" in text.lower() or "chain(" in text)):
            return True
    return any(isinstance(one, ast.For) and "parameters()" in unparsed(one.iter) for one in walk(body))
