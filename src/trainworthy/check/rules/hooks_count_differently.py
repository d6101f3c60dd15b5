"""Two hooks ask one counter, which moves on between them.

What it finds:
    A callback whose `on_train_batch_start` and `on_train_batch_end` both ask `trainer.global_step % self.every == 0`;
    in Composer, `after_backward` and `batch_end` that ask `state.timestamp.batch.value`.

Why:
    The trainer counts the step before it calls the hooks at the end of a batch. What the first hook prepares or
    collects in one batch, the second takes a batch too late, or `every - 1` batches later.

How sure:
    Both frameworks document the order, and the file knows one of them. Both hooks stand in one class of callbacks and
    ask the same thing of the same counter.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from trainworthy.check.finding import Evidence, Hit
from trainworthy.check.rule import rule
from trainworthy.check.static.analysis import Analysis
from trainworthy.check.static.bindings import Def
from trainworthy.check.static.tree import nodes_of, unparsed, walk

BAD = """\
import time

import lightning.pytorch as pl


class Timer(pl.Callback):
    def __init__(self, every):
        self.every = every

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step % self.every == 0:
            self.began = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step % self.every == 0:  # <- TW316
            module.log("batch_time", time.perf_counter() - self.began)
"""

GOOD = """\
import time

import lightning.pytorch as pl


class Timer(pl.Callback):
    def __init__(self, every):
        self.every = every

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if batch_idx % self.every == 0:
            self.began = time.perf_counter()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if batch_idx % self.every == 0:
            module.log("batch_time", time.perf_counter() - self.began)
"""

_BEFORE = frozenset(
    "on_train_batch_start on_before_zero_grad on_before_backward on_after_backward on_before_optimizer_step "
    "batch_start before_forward after_forward before_loss after_loss before_backward after_backward after_train_batch "
    "before_train_batch training_step".split()
)
_AFTER = frozenset({"on_train_batch_end", "batch_end"})
_FRAMEWORKS = frozenset({"lightning", "pytorch_lightning", "composer"})
_COUNTERS = (".global_step", ".timestamp.batch.value", ".timestamp.batch", ".batches_seen")


@rule(code="TW316", severity="warning")
def find(analysis: Analysis) -> Iterator[Hit]:
    """Look at classes with hooks before and after the count."""
    if not analysis.source.words & _AFTER or not analysis.source.words & _FRAMEWORKS:
        return
    for node in analysis.nodes.get(ast.ClassDef, ()):
        methods = [one for one in node.body if isinstance(one, Def)] if isinstance(node, ast.ClassDef) else []
        helpers = {one.name for one in methods if one.name not in _BEFORE | _AFTER and _answers(one)}
        before = [asked for one in methods if one.name in _BEFORE for asked in _asked(one, helpers)]
        after = [asked for one in methods if one.name in _AFTER for asked in _asked(one, helpers)]
        for text, test in after:
            same = next((where for other, where in before if other == text), None)
            if same is not None:
                yield Hit(
                    place=analysis.place(test),
                    message=f"the counter has moved on since the other hook asked `{text}`",
                    evidence=(Evidence("asked before the step is counted", analysis.place(same)),),
                    fix="Ask for the count less one here, or use the index of the batch in both.",
                )


def _answers(method: Def) -> bool:
    """Say whether a method returns the answer to such a question."""
    returned = {part for one in nodes_of(method, ast.Return) for part in walk(one)}
    return any(asked in returned for _, asked in _asked(method, set()))


def _asked(method: Def, helpers: set[str]) -> Iterator[tuple[str, ast.expr]]:
    """Yield the questions of the kind `counter % every == 0`, and calls of methods that answer one."""
    for one in walk(method):
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in helpers:
            yield unparsed(one), one
        if (
            not isinstance(one, ast.Compare)
            or not isinstance(one.left, ast.BinOp)
            or not isinstance(one.left.op, ast.Mod)
        ):
            continue
        if unparsed(one.left.left).endswith(_COUNTERS):
            yield unparsed(one), one
