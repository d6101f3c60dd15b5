"""Every group of parameters has its own weight decay, and the optimizer's never applies.

What it finds:
    An optimizer with `weight_decay=...` whose parameters come in groups that all state another `weight_decay`; likewise
    `lr`, if what is given is an option and no group makes use of it.

Why:
    What a group states wins over what the optimizer gets. The decay that was asked for has no effect.

How sure:
    All groups are written out in the same function. Silent if one of them uses what the optimizer gets, or if that is
    0 or a constant for `lr`, which older versions of torch demand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import bindings_of, functions_of
from trainworthy.check.static.tree import unparsed, walk

BAD = """\
import torch


def make_optimizer(model, decay):
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": 0.0},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, weight_decay=decay)  # <- TW393
"""

GOOD = """\
import torch


def make_optimizer(model, decay):
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1]},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, weight_decay=decay)
"""


@rule(code="TW393", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at optimizers of groups."""
    if "torch" not in analysis.source.words or not analysis.source.words & {"weight_decay", "lr"}:
        return
    for function in functions_of(analysis.nodes):
        names = bindings_of(function)
        for call in names.calls:
            given = {one.arg: one.value for one in call.keywords}
            if not call.args or not given.keys() & {"weight_decay", "lr"}:
                continue
            groups = call.args[0]
            if isinstance(groups, ast.Name):
                if any(_is_method_of(one, groups.id) for one in names.calls):
                    continue  # appended to
                groups = names.value_before(groups) or groups
            stated = _groups(groups)
            for option in ("weight_decay", "lr"):
                if option in given and stated and _never_applies(given[option], option, stated):
                    yield Hit(
                        place=analysis.place(call),
                        message=f"`{option}={unparsed(given[option])}` has no effect: every group of parameters "
                        "states its own",
                        evidence=(Evidence("the groups", analysis.place(groups)),),
                        fix=f"Leave `{option}` out of the group that is to have it.",
                    )


def _is_method_of(call: ast.Call, name: str) -> bool:
    return isinstance(call.func, ast.Attribute) and getattr(call.func.value, "id", "") == name


def _groups(node: ast.expr) -> list[dict[str, ast.expr]]:
    """Return the groups of a list of dicts that are all written out; none if any is not."""
    found = []
    for one in node.elts if isinstance(node, ast.List | ast.Tuple) else ():
        if not isinstance(one, ast.Dict) or not all(isinstance(key, ast.Constant) for key in one.keys):
            return []
        found.append({str(key.value): value for key, value in zip(one.keys, one.values, strict=True)})  # type: ignore[union-attr]
    return found if all("params" in one for one in found) else []


def _never_applies(given: ast.expr, option: str, groups: list[dict[str, ast.expr]]) -> bool:
    if isinstance(given, ast.Constant) and (option == "lr" or not given.value):
        return False
    if not all(option in one for one in groups):
        return False
    used = {name for one in groups for name in _names(one[option])}
    return not used & _names(given)


def _names(node: ast.expr) -> set[str]:
    found = {unparsed(one) for one in walk(node) if isinstance(one, ast.Name | ast.Attribute | ast.Subscript)}
    return found - {"self", "args", "config", "cfg", "opt", "hparams", "self.args", "self.config"} or {unparsed(node)}
