"""Every rank writes the same checkpoint.

What it finds:
    `torch.save` to a file whose name does not depend on the rank, in a program that starts a process group and
    never asks for its rank in a condition.

Why:
    All ranks write one file at once; it may be torn.

How sure:
    Silent as soon as any condition in the program speaks of a rank, or a main or master process.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.queries import once_per_place
from trainworthy.check.static.tree import walk
from trainworthy.check.static.values import Const

BAD = """\
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(4, 4))
torch.save(model.state_dict(), "model.pt")  # <- TW423
"""

GOOD = """\
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
model = DistributedDataParallel(torch.nn.Linear(4, 4))
if dist.get_rank() == 0:
    torch.save(model.state_dict(), "model.pt")
"""


_WORDS = (
    "rank",
    "main",
    "master",
    "primary",
    "leader",
    "is_root",
    "coordinator",
    "world",
    "distributed",
    "local",
    "gpu",
    "device",
    "proc",
)


@rule(code="TW423", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at saves to a literal name."""
    started = any(True for _ in analysis.calls("torch.distributed.init_process_group"))
    saves = any(True for _ in analysis.calls("torch.save"))
    if not started or not saves or _asks_for_rank(analysis):
        return
    for call in once_per_place(analysis.calls("torch.save")):
        if isinstance(call.argument(1, "f"), Const):
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="every rank writes this file",
                fix="Save on rank 0 only: `if dist.get_rank() == 0:`.",
            )


def _asks_for_rank(analysis: Analysis) -> bool:
    for source in analysis.sources:
        for node in walk(source.tree):
            if isinstance(node, ast.If | ast.IfExp | ast.While):
                words = ast.dump(node.test).lower().replace("'__main__'", "")
                if any(word in words for word in _WORDS):
                    return True
    return False
