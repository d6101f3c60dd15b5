"""A loader gets a sampler and `shuffle=True`.

What it finds:
    `DataLoader(..., shuffle=True, sampler=...)`, also where one of them, or both, stand in a dictionary of settings
    that the loader gets by `**`, and where the sampler is only made under a condition.

Why:
    The two exclude each other: ValueError.

How sure:
    `shuffle=True` is written in the source, nothing takes it back, and the sampler is not None, at least under the
    condition that it is made under.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.assigned import called, followed, scope_of
from trainworthy.check.static.facts import Call
from trainworthy.check.static.handed_on import Entry, branches, excluded, handed_on
from trainworthy.check.static.queries import may_both_run, names_in, once_per_place
from trainworthy.check.static.values import Instance

BAD = """\
import torch
from torch.utils.data import DataLoader, DistributedSampler

data = torch.rand(10)
loader = DataLoader(data, shuffle=True, sampler=DistributedSampler(data, shuffle=False))  # <- TW420
"""

GOOD = """\
import torch
from torch.utils.data import DataLoader, DistributedSampler

data = torch.rand(10)
loader = DataLoader(data, sampler=DistributedSampler(data, shuffle=False))
"""


@rule(code="TW420", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loaders."""
    for call in once_per_place(analysis.calls("torch.utils.data.DataLoader")):
        sampler = call.argument(3, "sampler")
        if call.constant(2, "shuffle") is True and isinstance(sampler, Instance) and sampler.made_by is not None:
            if _goes_with(call, sampler.made_by):
                shuffle = call.argument_node(2, "shuffle")
                yield _hit(analysis.place(shuffle or call.node, call.context))
        elif call.starred and call.context.source is analysis.source:
            yield from _in_settings(analysis, call.node)


def _goes_with(loader: Call, sampler: Call) -> bool:
    """Say whether a loader is made, on some way, with that sampler: no condition around it asks about the sampler."""
    missing = [test for test, truth in sampler.context.branches if (test, truth) not in loader.context.branches]
    if not missing:
        return True
    if loader.context.function is not sampler.context.function or not may_both_run(loader.context, sampler.context):
        return False
    node = loader.argument_node(3, "sampler")
    asked = {name for one in (*missing, *([node] if node is not None else [])) for name in names_in(one)} - {"self"}
    return not any(asked & names_in(test) for test, _ in loader.context.branches)


def _in_settings(analysis: Analysis, loader: ast.Call) -> Iterator[Hit]:
    """Yield loaders that get both from a dictionary, or one of them."""
    parents = analysis.parents
    entries = handed_on(loader, parents)
    entries += [Entry(one.arg, one.value, one.value) for one in loader.keywords if one.arg]
    shuffles = [one for one in entries if one.key == "shuffle"]
    if len(shuffles) != 1 or not isinstance(shuffles[0].value, ast.Constant) or shuffles[0].value.value is not True:
        return
    shuffled, around = branches(shuffles[0].node, parents), branches(loader, parents)
    scope = scope_of(loader, parents)
    for one in entries:
        if one.key != "sampler" or one.value is None or not _makes_a_sampler(followed(one.value, scope)):
            continue
        made = branches(one.node, parents)
        if shuffled <= made and not excluded(made, around):
            yield _hit(
                analysis.place(shuffles[0].node),
                Evidence("the sampler", analysis.place(one.node)),
                Evidence("both are handed to this loader", analysis.place(loader)),
            )
            return


def _makes_a_sampler(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return _makes_a_sampler(node.body) or _makes_a_sampler(node.orelse)
    return called(node).endswith("Sampler")


def _hit(place: Place, *evidence: Evidence) -> Hit:
    return Hit(
        place=place,
        message="`sampler` and `shuffle=True` exclude each other",
        evidence=evidence,
        fix="Leave `shuffle` out and let the sampler shuffle.",
    )
