"""With manual optimisation, nobody steps the learning-rate schedules.

What it finds:
    A `LightningModule` that sets `automatic_optimization = False` and whose `configure_optimizers` also returns
    learning-rate schedules, while none of its methods asks for `lr_schedulers()`.

Why:
    Lightning leaves the schedules to whoever steps the optimizers. The learning rate stays where it began: no warm-up,
    no decay.

How sure:
    All methods of the class and of its bases in the project are read. Silent if a base is not known, or if anything
    called a scheduler is stepped.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.tree import nodes_of, unparsed, walk
from trainworthy.check.static.values import Function, ProjectClass

BAD = """\
import lightning
import torch


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.net = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):  # <- TW392
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.net(batch).mean())
        optimizer.step()

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters())
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)]
"""

GOOD = """\
import lightning
import torch


class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.net = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        self.manual_backward(self.net(batch).mean())
        optimizer.step()
        if self.trainer.is_last_batch:
            self.lr_schedulers().step()

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters())
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)]
"""

_MAKES = re.compile(r"lr_scheduler\b|sched\w*\s*=|Scheduler\(|(?:LR|Restarts|Plateau)\(")
_STEPS = re.compile(
    r"lr_schedulers|sched\w*(?:\[[^\]]*\])?\.step\b|lr_scheduler_step|update_learning_rate|adjust_l|['\"]lr['\"]\]\s*="
)


@rule(code="TW392", severity="error")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at classes that switch automatic optimisation off."""
    if not {"automatic_optimization", "LightningModule"} & analysis.source.words or "automatic_optimization" not in (
        analysis.source.words
    ):
        return
    for cls in analysis.classes:
        off = _switched_off(cls)
        if off is None or not cls.fully_known() or "Lightning" not in cls.outside_base():
            continue
        methods = _methods(cls)
        made = methods.get("configure_optimizers")
        if made is None or not _makes_schedules(made):
            continue
        if any(_STEPS.search(unparsed(method)) for name, method in methods.items() if name != "configure_optimizers"):
            continue
        step = next((one for one in cls.node.body if getattr(one, "name", "") == "training_step"), None)
        where = analysis.source.place(step or off)
        yield Hit(
            place=where._replace(end_line=where.line, end_column=None),
            message="nobody steps the schedules that `configure_optimizers` returns: that is left to this class",
            evidence=(Evidence("automatic optimisation is off", analysis.place(off)),),
            fix="Step `self.lr_schedulers()` in `training_step` or at the end of an epoch.",
        )


def _switched_off(cls: ProjectClass) -> ast.Assign | None:
    for one in walk(cls.node):
        off = isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant) and one.value.value is False
        if off and isinstance(one, ast.Assign) and unparsed(one.targets[0]) == "self.automatic_optimization":
            return one
    return None


def _methods(cls: ProjectClass) -> dict[str, ast.AST]:
    """Return the methods that objects of a class have."""
    found: dict[str, ast.AST] = {}
    for one in cls.order():
        for name, member in one.members.items():
            if isinstance(member, Function):
                found.setdefault(name, member.node)
    return found


def _makes_schedules(method: ast.AST) -> bool:
    returned = [one.value for one in nodes_of(method, ast.Return) if one.value is not None]
    texts = [unparsed(one) for one in returned]
    return bool(_MAKES.search(unparsed(method))) and any("sched" in one.lower() or "LR(" in one for one in texts)
