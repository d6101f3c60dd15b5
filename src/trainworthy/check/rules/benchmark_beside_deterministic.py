"""cuDNN is told to be deterministic and to choose by measuring.

What it finds:
    `cudnn.deterministic = True` and `cudnn.benchmark = True` in one body; or the second without a condition elsewhere
    in the file, which never turns it off.

Why:
    With `benchmark`, cuDNN measures and may choose another algorithm in another run; results differ from run to run.

How sure:
    Both are literal, and whenever the first holds the second does.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.facts import Store
from trainworthy.check.static.values import Const, Ref

BAD = """\
import torch

torch.backends.cudnn.deterministic = True
torch.backends.cudnn.benchmark = True  # <- TW605
"""

GOOD = """\
import torch

torch.backends.cudnn.deterministic = True
torch.backends.cudnn.benchmark = False
"""


@rule(code="TW605", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at the two switches."""
    fixed = [one for one in analysis.stores if _sets(one, "deterministic")]
    if not fixed:
        return
    never_off = not any(_sets(one, "benchmark", on=False) for one in analysis.stores)
    for store in analysis.stores:
        if not _sets(store, "benchmark"):
            continue
        for other in fixed:
            same = other.context.function is store.context.function and other.context.branches == store.context.branches
            always = never_off and not store.context.branches and store.context.source is other.context.source
            if same or always:
                yield Hit(
                    place=analysis.place(store.node, store.context),
                    message="`benchmark` may choose another algorithm in each run, against `deterministic`",
                    evidence=(Evidence("`deterministic` is set here", analysis.place(other.node, other.context)),),
                    fix="Set `benchmark = False` for runs that must repeat.",
                )
                break


def _sets(store: Store, name: str, *, on: bool = True) -> bool:
    target, owner = store.target, store.owner
    cudnn = isinstance(owner, Ref) and owner.name == "torch.backends.cudnn"
    switched = isinstance(store.value, Const) and store.value.value is on
    return cudnn and switched and isinstance(target, ast.Attribute) and target.attr == name
