"""`nn.DataParallel` instead of `DistributedDataParallel`.

What it finds:
    `nn.DataParallel(model)`, also by another name or through `partial`, and its function `data_parallel`. Where the
    class is chosen in one place and called in another, the choice is marked.

Why:
    One process drives all GPUs through Python threads: inputs are scattered, the model is copied and outputs are
    gathered in every step. PyTorch recommends DistributedDataParallel even on one machine.

How sure:
    A hint about speed; results are right, apart from batch statistics. Silent in tests.
"""

from __future__ import annotations

from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit, Place
from trainworthy.check.rule import rule
from trainworthy.check.static.accumulation import last_name
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import is_a_test, once_per_place
from trainworthy.check.static.values import Ref, Value

BAD = """\
import torch.nn as nn

model = nn.DataParallel(nn.Linear(4, 4))  # <- TW411
"""

GOOD = """\
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel

model = DistributedDataParallel(nn.Linear(4, 4), device_ids=[0])
"""


@rule(code="TW411", severity="hint")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at calls."""
    if is_a_test(analysis.source):
        return
    chosen = {last_name(one.target): one for one in analysis.stores if _is_ref(one.value)}
    for call in once_per_place(analysis.calls("torch.nn.DataParallel", "torch.nn.parallel.data_parallel")):
        place = analysis.place(call.node, call.context)
        name = last_name(call.node.func)
        choice = chosen.get(name) if call.context.source is analysis.source else None
        at = place if choice is None else analysis.place(choice.node, choice.context)
        evidence = () if choice is None else (Evidence("called here", place),)
        yield _hit(at, *evidence)
    for call in once_per_place(analysis.calls("functools.partial")):
        if call.args and _is_ref(call.args[0]):
            yield _hit(analysis.place(call.node, call.context))


def _is_ref(value: Value) -> bool:
    return isinstance(value, Ref) and value.name in ("torch.nn.DataParallel", "torch.nn.parallel.data_parallel")


def _hit(place: Place, *evidence: Evidence) -> Hit:
    return Hit(
        place=place,
        message="DataParallel copies the model to every GPU in every step",
        evidence=evidence,
        fix="Use DistributedDataParallel, one process a GPU.",
    )
