"""Two values are stored under each other's name.

What it finds:
    `self.mean = std` beside `self.std = mean`; entries or keyword arguments such as `height=width, width=height`; and
    `src_mask=src_mask, tgt_mask=src_mask` where there is a `tgt_mask`.

Why:
    Nothing fails where both are of one kind. Whoever reads them by name gets the other one.

How sure:
    Both names are crossed in one statement or one body. Silent about functions that swap or turn, and about calls that
    are made both ways, such as attention in both directions, where one stands in for the other that is None, and in
    tests.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def, bindings_of, functions_around
from trainworthy.check.static.queries import is_a_test
from trainworthy.check.static.tree import own, unparsed

BAD = """\
import torch


class Normalise:
    def __init__(self, mean, std):
        self.mean = std  # <- TW816
        self.std = mean

    def __call__(self, x):
        return (x - self.mean) / self.std


def saved(path, input_ids, attention_mask):
    torch.save({"input_ids": attention_mask, "attention_mask": input_ids}, path)  # <- TW816


def encoded(model, src, src_mask, tgt_mask):
    tgt_mask = tgt_mask.bool()
    return model(src, src_mask=src_mask, tgt_mask=src_mask), tgt_mask  # <- TW816
"""

GOOD = """\
import torch


class Normalise:
    def __init__(self, mean, std):
        self.mean = mean
        self.std = std

    def __call__(self, x):
        return (x - self.mean) / self.std


def saved(path, input_ids, attention_mask):
    torch.save({"input_ids": input_ids, "attention_mask": attention_mask}, path)


def encoded(model, src, src_mask, tgt_mask):
    tgt_mask = tgt_mask.bool()
    return model(src, src_mask=src_mask, tgt_mask=tgt_mask)
"""

_TURNS = re.compile(
    r"swap|transpos|rever|invers|mirror|flip|symmetr|rot|cross|backward|other|mutual|bidirect|dual|switch|exchange|undo|_t$|"
    r"^t$|adjoint|right|left",
    re.IGNORECASE,
)
_ENDS = frozenset(  # of edges, pairs and directions, which libraries define the other way round
    "row col rows cols src dst source target tgt u v i j x y a b query key value head tail start end edge_index".split()
)
_DIRECTIONS = frozenset("in out inp output encoder decoder enc dec up down".split())
_SIZES = frozenset("dim dims channels size width features num n lr rate depth heads hidden units kernel stride".split())
_Pairs = dict[str, tuple[str, ast.AST]]  # the name under which something is stored: its own name, and where


@rule(code="TW816", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at what each function stores under a name."""
    if not analysis.source.words & {"torch", "numpy"} or is_a_test(analysis.source):
        return
    for function in functions_around(analysis.nodes, _suspicious(analysis)):
        if _TURNS.search(function.name):
            continue
        for pairs in _groups(function):
            for name, (value, where) in pairs.items():
                back = pairs.get(value)
                if back is not None and back[0] == name and name < value and not _has_direction(name, value):
                    yield Hit(
                        place=analysis.place(where),
                        message=f"`{value}` is stored as `{name}`, and `{name}` as `{value}`",
                        evidence=(Evidence("and the other way round", analysis.place(back[1])),),
                    )
                elif value != name and back is not None and back[0] == value and _is_there(function, name, where):
                    if _is_asked_for(analysis, name, where):
                        continue
                    yield Hit(
                        place=analysis.place(where),
                        message=f"`{value}` is stored as `{value}` and as `{name}`, and there is a `{name}`",
                        fix=f"{name}={name}",
                    )


def _suspicious(analysis: Analysis) -> list[int]:
    """Return the lines where something is stored under a name that is also that of something else stored nearby."""
    lines = []
    for node in (*analysis.nodes.get(ast.Call, ()), *analysis.nodes.get(ast.Dict, ())):
        pairs = _pairs(node)
        if any(value != name and value in pairs for name, (value, _) in pairs.items()):
            lines.append(getattr(node, "lineno", 0))
    crossed: dict[tuple[str, str], int] = {}
    for node in analysis.nodes.get(ast.Assign, ()):
        pair = _attribute(node)
        if pair is not None and pair[0] != pair[1]:
            crossed[pair] = getattr(node, "lineno", 0)
    return lines + [line for (name, value), line in crossed.items() if (value, name) in crossed]


def _attribute(node: ast.AST) -> tuple[str, str] | None:
    """Return the attribute of `self` that a statement sets, and the variable that it sets it to."""
    target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    if (
        not isinstance(node, ast.Assign)
        or not isinstance(target, ast.Attribute)
        or not isinstance(node.value, ast.Name)
    ):
        return None
    return (target.attr.lstrip("_"), node.value.id) if getattr(target.value, "id", "") == "self" else None


def _pairs(node: ast.AST) -> _Pairs:
    """Return what a call or a dict gives under which name, as far as it is called by a name itself."""
    if isinstance(node, ast.Call):
        return {one.arg: (one.value.id, node) for one in node.keywords if one.arg and isinstance(one.value, ast.Name)}
    found: _Pairs = {}
    for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(value, ast.Name):
            found[key.value] = (value.id, node)
    return found


def _is_there(function: Def, name: str, where: ast.AST) -> bool:
    """Say whether a function has something of its own under a name."""
    if _has_direction(name) or {*name.lower().split("_")} & _SIZES:  # a layer may well be as wide as another
        return False
    bound = bindings_of(function)
    own = any(one.lineno < getattr(where, "lineno", 0) for one in bound.stores.get(name, ()))
    return isinstance(where, ast.Call | ast.Dict) and (own or name in bound.parameters)


def _is_asked_for(analysis: Analysis, name: str, where: ast.AST) -> bool:
    """Say whether a branch around a place asks whether something is None: another value may stand in for it."""
    node = where
    while (node := analysis.parents.get(node, node)) in analysis.parents and not isinstance(node, Def):
        if isinstance(node, ast.If | ast.IfExp) and re.search(rf"\b{name} is (not )?None", unparsed(node.test)):
            return True
    return False


def _has_direction(*names: str) -> bool:
    """Say whether names are of the two ends of something that may be gone through the other way."""
    words = {word for name in names for word in name.lower().split("_")}
    return bool({*names} & _ENDS or words & _DIRECTIONS)


def _groups(function: Def) -> Iterator[_Pairs]:
    """Yield what a function stores side by side: attributes of `self`, entries of a dict, arguments of a call."""
    attributes: _Pairs = {}
    calls: list[tuple[str, _Pairs]] = []
    for node in own(function):
        pair = _attribute(node)
        if pair is not None:
            attributes[pair[0]] = (pair[1], node)
        elif isinstance(node, ast.Dict):
            yield _pairs(node)
        elif isinstance(node, ast.Call) and len(node.keywords) > 1:
            calls.append((unparsed(node.func), _pairs(node)))
    yield attributes
    for func, pairs in calls:
        if sum(one == func for one, _ in calls) == 1 and not _TURNS.search(func):
            yield pairs
