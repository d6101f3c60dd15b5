"""A `DistributedSampler` is made, and the loader of its data does not take it.

What it finds:
    `sampler = DistributedSampler(data)` beside `DataLoader(data, ...)` that gets neither a sampler nor a batch sampler,
    where nothing else takes the sampler: it is only told the epoch, or asked whether it is there. In real steps: such a
    sampler that nobody asked for an order, while training goes through a loader of the same data with another one.

Why:
    Every rank goes through all of the data: N processes do the same work N times, their gradients are averages over
    alike batches, and `set_epoch` changes nothing.

How sure:
    Sampler and loader are made of the same data in one function, and the sampler is never an argument, a part of
    something or a result. Silent if the loader is handed to what replaces samplers (`prepare`, `setup_dataloaders`).
    In real steps: the sampler is made for two ranks or more, or is told the epoch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import functions_of
from trainworthy.check.static.tree import own, unparsed

BAD = """\
import torch.distributed as dist
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

dist.init_process_group("gloo")
data = list(range(64))
train_sampler = DistributedSampler(data)
loader = DataLoader(data, batch_size=8, shuffle=False)  # <- TW439
for epoch in range(2):
    train_sampler.set_epoch(epoch)
    for batch in loader:
        pass
"""

GOOD = """\
import torch.distributed as dist
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

dist.init_process_group("gloo")
data = list(range(64))
train_sampler = DistributedSampler(data)
loader = DataLoader(data, batch_size=8, shuffle=False, sampler=train_sampler)
for epoch in range(2):
    train_sampler.set_epoch(epoch)
    for batch in loader:
        pass
"""

LIVE_BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

torch.manual_seed(0)
def loader_of(data, **options):
    return DataLoader(data, batch_size=options.get("size", 4), sampler=options.get("train_sampler"))  # <- TW439


data = TensorDataset(torch.randn(32, 4))
sampler = DistributedSampler(data, num_replicas=2, rank=0)
loader = loader_of(data, size=8, sampler=sampler)
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(2):
    sampler.set_epoch(epoch)
    for (x,) in loader:
        loss = model(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""

LIVE_GOOD = LIVE_BAD.replace("  # <- TW439", "").replace('"train_sampler"', '"sampler"')

_SAMPLERS = (
    "torch.utils.data.distributed.DistributedSampler",
    "torch.utils.data.DistributedSampler",
)
_LOADERS = ("torch.utils.data.DataLoader", "torch.utils.data.dataloader.DataLoader")
_REPLACES = frozenset({"prepare", "prepare_data_loader", "setup_dataloaders", "setup", "fit"})


@rule(code="TW439", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at loaders without a sampler of data that a sampler is made of."""
    words = analysis.source.words
    if not {"DistributedSampler", "DataLoader"} <= words or words & _REPLACES & _methods(analysis):
        return
    samplers = {one.node for one in analysis.calls(*_SAMPLERS)}
    loaders = {one.node for one in analysis.calls(*_LOADERS) if not one.starred}
    for scope in (analysis.source.tree, *functions_of(analysis.nodes)) if samplers and loaders else ():
        nodes = own(scope)
        made = {
            unparsed(one.targets[0]): one.value
            for one in nodes
            if isinstance(one, ast.Assign) and one.value in samplers and isinstance(one.value, ast.Call)
        }
        for name, sampler in made.items():
            data = _data(sampler)
            loader = next((one for one in nodes if one in loaders and _is_without(one, data)), None)
            if loader is not None and not _is_taken(analysis, name):
                yield Hit(
                    place=analysis.place(loader),
                    message=f"this loader does not take `{name}`, so every rank goes through all of the data",
                    evidence=(Evidence("the sampler of the same data", analysis.place(sampler)),),
                    fix=f"Write `sampler={name}`.",
                )


@rule(code="TW439", severity="error", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield loaders that go through all of what a sampler shares out."""
    for fact in facts.idle_samplers:
        yield Hit(
            place=fact.place,
            message=f"a DistributedSampler of these data is never asked; the loader has a {fact.used}, so every rank "
            "goes through all of them",
            evidence=(Evidence(f"made here for {fact.replicas} rank{'s' * (fact.replicas > 1)}", fact.made),),
            fix="Give it to the loader: DataLoader(..., sampler=sampler).",
        )


def _methods(analysis: Analysis) -> set[str]:
    """Return the methods that a file calls; its own `setup(rank, world_size)` is none."""
    calls = (one for one in analysis.nodes.get(ast.Call, []) if isinstance(one, ast.Call))
    return {one.func.attr for one in calls if isinstance(one.func, ast.Attribute)}


def _data(call: ast.Call) -> str:
    """Write the data that a sampler or loader is made of."""
    named = next((one.value for one in call.keywords if one.arg == "dataset"), None)
    given = named or (call.args[0] if call.args else None)
    return "" if given is None else unparsed(given)


_BEFORE_SAMPLER = 3  # the arguments of a loader before its sampler: data, size of a batch, shuffle


def _is_without(node: ast.AST, data: str) -> bool:
    """Say whether a loader is of this data and gets no sampler."""
    if not isinstance(node, ast.Call) or not data or _data(node) != data or len(node.args) > _BEFORE_SAMPLER:
        return False
    return not {one.arg for one in node.keywords} & {"sampler", "batch_sampler", None}


def _is_taken(analysis: Analysis, name: str) -> bool:
    """Say whether something takes a sampler: it is more than called, compared or asked for its truth."""
    for kind in (ast.Name, ast.Attribute):
        for node in analysis.nodes.get(kind, []):
            if not isinstance(node, ast.Name | ast.Attribute) or isinstance(node.ctx, ast.Store):
                continue
            if unparsed(node) != name:
                continue
            above = analysis.parents.get(node)
            asked = isinstance(above, ast.Attribute | ast.Compare | ast.If | ast.UnaryOp | ast.BoolOp) or (
                isinstance(above, ast.IfExp | ast.While) and above.test is node
            )
            if not asked:
                return True
    return False
