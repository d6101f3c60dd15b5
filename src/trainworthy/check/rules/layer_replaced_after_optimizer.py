"""A layer is replaced after the optimizer took the model's parameters.

What it finds:
    `optimizer = SGD(model.parameters())`, then `model.fc = nn.Linear(...)`.

Why:
    The optimizer holds the parameters of the old layer; the new one is never trained.

How sure:
    Both stand in one body, in this order, and no parameter group is added later.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.external import is_module
from trainworthy.check.static.queries import PARAMETRISED, inner_modules, may_both_run
from trainworthy.check.static.values import Instance, Parameters

BAD = """\
import torch
import torch.nn as nn

model = nn.Sequential(nn.Linear(4, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model.head = nn.Linear(4, 2)  # <- TW318
"""

GOOD = """\
import torch
import torch.nn as nn

model = nn.Sequential(nn.Linear(4, 4))
model.head = nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
"""


@rule(code="TW318", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at attributes set after an optimizer was made."""
    if analysis.mentions("add_param_group"):
        return
    made = [
        (call, call.args[0])
        for call in analysis.all_calls
        if call.name.startswith("torch.optim.") and call.args and isinstance(call.args[0], Parameters)
    ]
    for store in analysis.stores:
        if not isinstance(store.owner, Instance) or not is_module(store.owner) or not _heavy(store.value):
            continue
        for call, parameters in made:
            same = call.context.function is store.context.function and call.context.loops == store.context.loops
            again = any(o is not call and p.owner is store.owner and o.at > store.at for o, p in made)
            if (
                parameters.owner is store.owner
                and call.at < store.at
                and same
                and not again
                and call.context.callers == store.context.callers
                and may_both_run(call.context, store.context)
            ):
                yield Hit(
                    place=analysis.place(store.node, store.context),
                    message="the new layer's parameters are in no optimizer",
                    evidence=(Evidence("the optimizer is made here", analysis.place(call.node, call.context)),),
                    fix="Make the optimizer after the model is complete.",
                )


def _heavy(value: object) -> bool:
    return (
        isinstance(value, Instance)
        and is_module(value)
        and any(one.type.rpartition(".")[2] in PARAMETRISED for one in inner_modules(value))
    )
