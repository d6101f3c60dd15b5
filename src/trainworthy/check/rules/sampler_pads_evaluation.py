"""A distributed sampler counts some samples of an evaluation twice.

What it finds:
    `DistributedSampler(x, ..., shuffle=False)` where the name of the data set says val, valid, eval or test, and
    `drop_last` is not given. In real steps: a loader with such a sampler, whatever its name, that is gone through
    without gradients, of a data set that the ranks do not divide (8 ranks, where there is one).

Why:
    So that each rank has as many samples, the sampler repeats the first ones: 5 samples on 2 ranks are counted as 6,
    and the metric is a little wrong.

How sure:
    A hint, and off by default: nothing happens where the ranks divide the samples evenly, or where the surplus is cut
    off again (detection's evaluators keep one of each image), and neither is in the source.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place

BAD = """\
import torch
from torch.utils.data import DistributedSampler

test_set = torch.utils.data.TensorDataset(torch.rand(5, 2))
sampler = DistributedSampler(test_set, num_replicas=2, rank=0, shuffle=False)  # <- TW460
"""

GOOD = """\
import torch
from torch.utils.data import DistributedSampler

train_set = torch.utils.data.TensorDataset(torch.rand(5, 2))
test_set = torch.utils.data.TensorDataset(torch.rand(5, 2))
sampler = DistributedSampler(train_set, num_replicas=2, rank=0, shuffle=False)
other = DistributedSampler(test_set, num_replicas=2, rank=0, shuffle=False, drop_last=True)
"""

_HELD_OUT = re.compile(r"(^|[^a-z])(val|valid|validation|eval|evaluation|test|dev)([^a-z]|$)")
_CUT_AGAIN = ("gather_for_metrics", "all_gather_object", "nested_truncate", "distributed_concat")


@rule(code="TW460", severity="hint", depth="live", default=False)
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Look at the samplers of loaders that an evaluation goes through."""
    for loader in facts.loaders:
        ranks = loader.world_size if loader.world_size > 1 else _RANKS
        if loader.in_training or loader.shuffles or not loader.shared_size or loader.shared_size % ranks == 0:
            continue
        padded = -(-loader.shared_size // ranks) * ranks
        yield Hit(
            place=loader.sampler_place or loader.place,
            message=f"on {ranks} ranks the sampler makes {padded} samples of {loader.shared_size}: "
            f"{padded - loader.shared_size} count twice in what is evaluated",
            evidence=(Evidence("they are gone through here, without gradients", loader.place),),
            fix="Gather and cut to len(dataset), or use a sampler that does not pad.",
        )


_RANKS = 8  # of a run that was looked at with one


@rule(code="TW460", severity="hint", default=False)
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at samplers of held-out data."""
    if analysis.source.words.intersection(_CUT_AGAIN):
        return
    names = ("torch.utils.data.DistributedSampler", "torch.utils.data.distributed.DistributedSampler")
    for call in once_per_place(analysis.calls(*names)):
        given = call.argument_node(0, "dataset")
        name = getattr(given, "id", None) or (given.attr if isinstance(given, ast.Attribute) else "")
        if call.constant(3, "shuffle") is False and not call.has(5, "drop_last") and _HELD_OUT.search(name.lower()):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message=f"the sampler repeats samples of `{name}` where ranks do not divide them: they count twice",
                fix="Gather and cut to len(dataset), or use a sampler that does not pad.",
            )
