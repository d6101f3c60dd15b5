"""Several values are stored in another order than everywhere else in their class.

What it finds:
    A class that returns and unpacks `hidden, ids, mask` in all of its methods, and in one place keeps
    `[hidden, mask, ids]`.

Why:
    Whoever unpacks them takes one for the other: ids for a mask, a mean for a variance. The types agree, so nothing
    fails.

How sure:
    Three or more values with the same names, but for a number or index at the end, stand in one order at least thrice,
    of which one is what a method returns, and in the other order once.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, walk

BAD = """\
import torch


class Cache:
    def encoded(self, model, text):
        hidden, ids, mask = model(text)
        return hidden, ids, mask

    def loaded(self, path):
        hidden, ids, mask = torch.load(path)
        return [hidden, ids, mask]

    def store(self, model, texts, infos):
        hidden, ids, mask = self.encoded(model, texts)
        for info, hidden_i, ids_i, mask_i in zip(infos, hidden, ids, mask):
            info.outputs = [hidden_i, mask_i, ids_i]  # <- TW857
"""

GOOD = """\
import torch


class Cache:
    def encoded(self, model, text):
        hidden, ids, mask = model(text)
        return hidden, ids, mask

    def loaded(self, path):
        hidden, ids, mask = torch.load(path)
        return [hidden, ids, mask]

    def store(self, model, texts, infos):
        hidden, ids, mask = self.encoded(model, texts)
        for info, hidden_i, ids_i, mask_i in zip(infos, hidden, ids, mask):
            info.outputs = [hidden_i, ids_i, mask_i]
"""

_END = re.compile(r"_(i|j|b|np|item|one|batch|list)$|_?\d+$")
_Places = dict[tuple[str, ...], list[tuple[ast.AST, str]]]


@rule(code="TW857", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the lists and tuples of each class."""
    if not analysis.source.words & {"torch", "numpy"}:
        return
    if not _in_two_orders(analysis):
        return
    for node in analysis.nodes.get(ast.ClassDef, ()):
        groups: dict[frozenset[str], _Places] = defaultdict(lambda: defaultdict(list))
        for names, where, kind in _displays(node):
            groups[frozenset(names)][names].append((where, kind))
        for orders in groups.values():
            if len(orders) != 2:
                continue
            rare, usual = sorted(orders, key=lambda one: len(orders[one]))
            kinds = [kind for _, kind in orders[usual]]
            where, kind = orders[rare][0]
            if len(orders[rare]) == 1 and kind in ("kept", "returned") and "returned" in kinds and len(kinds) > 2:
                yield Hit(
                    place=analysis.place(where),
                    message=f"the order is {', '.join(usual)} everywhere else, and {', '.join(rare)} here",
                    evidence=(Evidence("as here", analysis.place(orders[usual][0][0])),),
                )


def _in_two_orders(analysis: Analysis) -> bool:
    """Say whether the same names stand in two orders anywhere."""
    orders: dict[frozenset[str], tuple[str, ...]] = {}
    for kind in (ast.Tuple, ast.List):
        for node in analysis.nodes.get(kind, ()):
            for names, _, _ in _named(node, "") if isinstance(node, ast.expr) else ():
                if orders.setdefault(frozenset(names), names) != names:
                    return True
    return False


def _displays(cls: ast.AST) -> Iterator[tuple[tuple[str, ...], ast.AST, str]]:
    within = {part for one in nodes_of(cls, ast.ClassDef) if one is not cls for part in walk(one)}
    for node in (one for one in walk(cls) if one not in within):
        if isinstance(node, ast.Return) and node.value is not None:
            yield from _named(node.value, "returned")
        elif isinstance(node, ast.Assign) and len(node.targets) == 1:
            if isinstance(node.targets[0], ast.Tuple):
                yield from _named(node.targets[0], "taken apart")
            elif isinstance(node.targets[0], ast.Attribute | ast.Subscript):
                yield from _named(node.value, "kept")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            for one in node.args:
                yield from _named(one, "kept")


def _named(node: ast.expr, kind: str) -> Iterator[tuple[tuple[str, ...], ast.AST, str]]:
    if isinstance(node, ast.List | ast.Tuple) and len(node.elts) > 2:
        names = [one.id for one in node.elts if isinstance(one, ast.Name)]
        plain = tuple(_END.sub("", one).rstrip("s") for one in names)
        if len(names) == len(node.elts) and len({*plain}) == len(plain) and all(len(one) > 2 for one in names):
            yield plain, node, kind
