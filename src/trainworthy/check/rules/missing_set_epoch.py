"""A `DistributedSampler` is never told the epoch.

What it finds:
    A `DistributedSampler` that shuffles, in a program that goes through its loader in a loop over epochs and never
    calls `set_epoch`, or only in a callback or function that nothing uses; also where the loop is in another file, if
    names tell that the sampler is for training, and for classes of the project that descend from it, as samplers of
    buckets do. Live: one whose epoch was the same at the beginning of two passes.

Why:
    The order is drawn from seed + epoch, and the epoch stays 0: every epoch has the same batches.

How sure:
    Silent if Lightning, Accelerate or another library's trainer is imported, which call it themselves, if
    `shuffle=False`, or if names tell that the data is for validation; where a class of the project changes its epoch or
    shuffles in a way of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import chain

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.everywhere import project_files, text_of
from trainworthy.check.static.facts import Call, Iteration
from trainworthy.check.static.frameworks import uses_outside
from trainworthy.check.static.queries import names_in, unwrapped
from trainworthy.check.static.source import Source
from trainworthy.check.static.tree import nodes_of, unparsed
from trainworthy.check.static.values import UNKNOWN, Instance, ProjectClass, Value

BAD = """\
import torch
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

data = torch.rand(100, 4)
sampler = DistributedSampler(data)  # <- TW402
loader = DataLoader(data, batch_size=10, sampler=sampler)
for epoch in range(3):
    for batch in loader:
        print(batch.sum())
"""

GOOD = """\
import torch
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

data = torch.rand(100, 4)
sampler = DistributedSampler(data)
loader = DataLoader(data, batch_size=10, sampler=sampler)
for epoch in range(3):
    sampler.set_epoch(epoch)
    for batch in loader:
        print(batch.sum())
"""


_TRAINERS = (
    "lightning",
    "pytorch_lightning",
    "Accelerator",
    "Trainer",
    "ignite",
    "fabric",
    "Fabric",
    "composer",
    "catalyst",
)


@rule(code="TW402", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at samplers whose loader is gone through in two loops."""
    samplers = list(_samplers(analysis))
    if not samplers or _is_told(analysis) or uses_outside(analysis, *_TRAINERS):
        return
    seen: set[ast.AST] = set()
    for call in samplers:
        if (
            call.starred
            or call.constant(None if _class_of(call) else 3, "shuffle") is False
            or call.node in seen
            or _is_for_evaluation(analysis, call)
        ):
            continue
        here = any(_epochs_over(one, call) for one in analysis.iterations) or _epochs_over_handed_on(analysis, call)
        if here or (_is_for_training(analysis, call) and _never_told(analysis.source.path)):
            seen.add(call.node)
            yield Hit(
                place=analysis.place(call.node, call.context),
                message="without `set_epoch`, every epoch has the same order",
                fix="Call `sampler.set_epoch(epoch)` at the start of each epoch.",
            )


_SAMPLERS = (
    "torch.utils.data.DistributedSampler",
    "torchdata.stateful_dataloader.sampler.StatefulDistributedSampler",
)
_TELLS = re.compile(r"(?<!def )(?<!super\(\)\.)\bset_epoch\b")


def _is_told(analysis: Analysis) -> bool:
    """Say whether a file calls or mentions `set_epoch`, other than to define it, or in a callback that nobody uses."""
    telling = [one for one in analysis.sources if "set_epoch" in one.words and _TELLS.search(one.code) is not None]
    return any(one is not analysis.source or not _only_in_what_nobody_uses(one) for one in telling)


def _only_in_what_nobody_uses(source: Source) -> bool:
    """Say whether all that tells a sampler stands in classes and functions of the file that nothing names again."""
    left = source.text
    bodies = [source.tree.body, *(one.body for one in nodes_of(source.tree, ast.FunctionDef))]
    for node in chain.from_iterable(bodies):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.decorator_list:
            continue
        text = source.segment(node)
        if _TELLS.search(text) is not None and _is_never_named(node.name, source):
            left = left.replace(text, "")
    code = "\n".join(line for line in left.splitlines() if not line.lstrip().startswith("#"))
    return _TELLS.search(code) is None


def _is_never_named(name: str, source: Source) -> bool:
    """Say whether a definition's name stands nowhere else in the project; a library's may be used by others."""
    word = re.compile(rf"\b{name}\b")
    others = [one for one in project_files(source.path) or () if one != source.path]
    is_a_program = "__main__" in source.text or any(
        isinstance(one, ast.For | ast.While | ast.If) or _is_a_call(one) for one in source.tree.body
    )
    return is_a_program and len(word.findall(source.text)) == 1 and not any(word.search(text_of(one)) for one in others)


def _is_a_call(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _samplers(analysis: Analysis) -> Iterator[Call]:
    """Yield where samplers are made, those of the project's own classes included."""
    yield from analysis.calls(*_SAMPLERS)
    for call in analysis.all_calls:
        cls = _class_of(call)
        if cls is not None and call.context.source is analysis.source and _draws_by_its_epoch(cls):
            yield call


def _class_of(call: Call) -> ProjectClass | None:
    """Return the class of the project whose sampler a call makes; None if it makes none."""
    made = call.result
    if isinstance(made, Instance) and made.made_by is call and made.cls is not None and made.type in _SAMPLERS:
        return made.cls
    return None


def _draws_by_its_epoch(cls: ProjectClass) -> bool:
    """Say whether a class takes its order from the epoch that it is told, and does not count epochs itself."""
    texts = [one.source.segment(one.node) for one in cls.order()]
    if any(_COUNTS.search(text) for text in texts):
        return False
    return cls.lookup("__iter__") is None or any("self.epoch" in text for text in texts)


_COUNTS = re.compile(r"self\.epoch\s*\+=|self\.epoch\s*=\s*self\.epoch|\bset_epoch\(self\.|self\.set_epoch")
_TRAINING = re.compile(r"(^|_)(train|training|trn)($|_|\d|set|data|sampler)")
_EPOCHS = re.compile(r"^[ \t]*for \w*epoch\w* in ", re.MULTILINE)
_OTHERS = re.compile(
    r"^[ \t]*(?:from|import) (?:lightning|pytorch_lightning|accelerate|ignite|composer|catalyst|fastai)\b|"
    r"import[^\n]*\bTrainer\b",
    re.MULTILINE,
)


def _is_for_training(analysis: Analysis, sampler: Call) -> bool:
    """Say whether names tell that the data is learned from."""
    parts = [*sampler.node.args[:1], *(one.value for one in sampler.node.keywords if one.arg == "dataset")]
    parts += [one.target for one in analysis.stores if getattr(one.node, "value", None) is sampler.node]
    return any(_TRAINING.search(name.lower()) for part in parts for name in names_in(part))


def _never_told(path: str) -> bool:
    """Say whether a project has loops over epochs, none of its files tells a sampler, and no trainer of others does."""
    texts = [text_of(one) for one in project_files(path) or ()]
    if any("set_epoch" in text or _OTHERS.search(text) for text in texts):
        return False
    return any(_EPOCHS.search(text) for text in texts)


_HELD_OUT = re.compile(r"(^|_)(val|valid|validation|eval|evaluation|test|dev)($|_|\d|set|data)")


def _is_for_evaluation(analysis: Analysis, sampler: Call) -> bool:
    """Say whether names tell that the data is only evaluated: its order does not matter."""
    parts = [*sampler.node.args[:1], *(one.value for one in sampler.node.keywords if one.arg == "dataset")]
    parts += [one.target for one in analysis.stores if getattr(one.node, "value", None) is sampler.node]
    return any(_HELD_OUT.search(name.lower()) for part in parts for name in names_in(part))


def _epochs_over(iteration: Iteration, sampler: Call) -> bool:
    loader = unwrapped(iteration.iterable)
    repeated = [loop for loop in iteration.context.all_loops() if not _turns_once(loop)]
    return _is_loader_of(loader, sampler) and bool(repeated)


def _turns_once(loop: ast.AST) -> bool:
    return isinstance(loop, ast.For) and unparsed(loop.iter) in ("range(1)", "range(0, 1)")


def _is_loader_of(loader: Value | None, sampler: Call) -> bool:
    if not isinstance(loader, Instance) or loader.type != "torch.utils.data.DataLoader" or loader.made_by is None:
        return False
    given = loader.made_by.argument(3, "sampler") or loader.made_by.argument(4, "batch_sampler")
    if isinstance(given, Instance) and given.type == "torch.utils.data.BatchSampler" and given.made_by is not None:
        given = given.made_by.argument(0, "sampler")
    return isinstance(given, Instance) and given.made_by is not None and given.made_by.node is sampler.node


def _epochs_over_handed_on(analysis: Analysis, sampler: Call) -> bool:
    """Say whether a loop over epochs goes through what a function made of the loader, as wrappers do."""
    loaders = {
        name for one in analysis.stores if _is_loader_of(one.value, sampler) for name in names_in(one.target)
    } - {"self"}
    made: set[str] = set()
    for store in analysis.stores:
        value = getattr(store.node, "value", None)
        if isinstance(value, ast.Call) and loaders & names_in(value):
            made |= names_in(store.target) - loaders
    return any(
        made & names_in(one.node.iter)
        and any(names_in(loop.target) & {"epoch", "ep"} for loop in one.context.loops if isinstance(loop, ast.For))
        for one in analysis.iterations
        if one.iterable is UNKNOWN or isinstance(one.iterable, Instance)
    )


LIVE_BAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

torch.manual_seed(0)
data = torch.randn(16, 4)
loader = DataLoader(data, batch_size=4, sampler=DistributedSampler(data, num_replicas=2, rank=0))
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(3):
    for x in loader:  # <- TW402
        loss = model(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""
LIVE_GOOD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

torch.manual_seed(0)
data = torch.randn(16, 4)
sampler = DistributedSampler(data, num_replicas=2, rank=0)
loader = DataLoader(data, batch_size=4, sampler=sampler)
held_out = DataLoader(data, batch_size=4, sampler=DistributedSampler(data, num_replicas=2, rank=0, shuffle=False))
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for epoch in range(3):
    sampler.set_epoch(epoch)
    for x in loader:
        loss = model(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for x in held_out:
        model(x)
"""


@rule(code="TW402", severity="warning", depth="live")
def find_live(facts: LiveFacts) -> Iterator[Hit]:
    """Yield loaders that began two epochs with the sampler's epoch unchanged."""
    for loader in facts.loaders:
        seen = loader.sampler_epochs
        if loader.sampler == "DistributedSampler" and loader.shuffles and len(seen) >= 2 and len(set(seen)) == 1:
            yield Hit(
                place=loader.place,
                message=f"{len(seen)} epochs began with the DistributedSampler at epoch {seen[0]}: all have the same "
                "order",
                evidence=(Evidence(f"{loader.world_size} replicas; set_epoch was not called in between"),),
                fix="Call `sampler.set_epoch(epoch)` at the start of each epoch.",
            )
