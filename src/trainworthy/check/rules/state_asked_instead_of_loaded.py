"""The state of a network or an optimizer is neither taken nor given back.

What it finds:
    `state_dict` without parentheses where its result is meant: in a dict, as what is saved, kept or loaded; and
    `model.state_dict(best_weights)` as a whole statement, where `load_state_dict` is meant.

Why:
    A checkpoint then holds a method, with the whole object that it is bound to, or cannot be written; and weights that
    were kept are never restored: `state_dict` only asks.

How sure:
    Sure where the result of `state_dict` with an argument is thrown away. Silent where the method itself is wanted: as
    a default of `getattr`, in a wrapper that keeps and calls it, among other methods of the object, and in a file that
    has states as attributes of that name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import unparsed

BAD = """\
import torch


def save(model, optimizer, path):
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict}, path)  # <- TW664


def restore(model, best_weights):
    if best_weights is not None:
        model.state_dict(best_weights)  # <- TW664
"""

GOOD = """\
import torch


def save(model, optimizer, path):
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)


def restore(model, best_weights):
    if best_weights is not None:
        model.load_state_dict(best_weights)
"""

_SAVES = frozenset({"save", "dump", "dumps", "save_checkpoint", "deepcopy", "load_state_dict"})
# What has a method of that name; other things keep a state under it.
_HAS_A_STATE = re.compile(
    r"(^|_)(model|net|network|module|encoder|decoder|backbone|classifier|generator|discriminator|critic|actor|policy|ema|"
    r"opt|optim|optimi[sz]er|sched|scheduler|scaler|sampler|head|netG|netD|agent)\w{0,2}$",
    re.IGNORECASE,
)
_KEPT = re.compile(r"\.state_dict\s*(:[^=\n]*)?=[^=]|@property\s+def state_dict|^ +state_dict\s*:", re.MULTILINE)


@rule(code="TW664", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at where `state_dict` stands."""
    if "state_dict" not in analysis.source.words or _KEPT.search(analysis.source.code):
        return
    for node in analysis.nodes.get(ast.Attribute, []):
        if not isinstance(node, ast.Attribute) or node.attr != "state_dict" or not isinstance(node.ctx, ast.Load):
            continue
        text = unparsed(node)
        parent = analysis.parents.get(node)
        if _is_asked_with_a_state(analysis, node, parent):
            yield Hit(
                place=analysis.place(parent or node),
                message=f"`{text}(...)` only asks for the state; nothing is loaded",
                fix=f"Write `{unparsed(node.value)}.load_state_dict(...)`.",
            )
        elif _is_meant_to_be_a_state(analysis, node, parent):
            yield Hit(
                place=analysis.place(node),
                message=f"`{text}` is a method, not the state",
                fix=f"Write `{text}()`.",
            )


def _is_asked_with_a_state(analysis: Analysis, node: ast.Attribute, parent: ast.AST | None) -> bool:
    """Say whether a statement is a call with one argument, which is no option: a destination, or a prefix."""
    if (
        not isinstance(parent, ast.Call)
        or parent.func is not node
        or not isinstance(analysis.parents.get(parent), ast.Expr)
    ):
        return False
    if len(parent.args) != 1 or parent.keywords:
        return False
    given = parent.args[0]
    return not isinstance(given, ast.Starred | ast.Constant) and "dest" not in unparsed(given).lower()


def _is_meant_to_be_a_state(analysis: Analysis, node: ast.Attribute, parent: ast.AST | None) -> bool:
    """Say whether a method stands where states are: beside others in a dict, or where something is saved or loaded."""
    if not _HAS_A_STATE.search(last_name(node.value)):
        return False
    outer = analysis.parents.get(parent) if isinstance(parent, ast.keyword) else parent
    if isinstance(outer, ast.Dict):
        return node in outer.values and not _has_methods(outer.values, node)
    if isinstance(outer, ast.Call) and outer.func is not node:
        if last_name(outer.func) == "dict":
            return not _has_methods([one.value for one in outer.keywords], node)
        return last_name(outer.func) in _SAVES
    if isinstance(parent, ast.Assign):
        return any(isinstance(one, ast.Subscript) for one in parent.targets)
    return False


def _has_methods(values: list[ast.expr], node: ast.Attribute) -> bool:
    """Say whether a table has other methods of the same object: then it is one of methods."""
    return any(
        isinstance(one, ast.Attribute) and one is not node and unparsed(one.value) == unparsed(node.value)
        for one in values
    )
