"""The guard itself: looks at the first steps of a training, says what is wrong, and is gone."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal

from torch import nn

from trainworthy.check.finding import SEVERITIES, Finding, Place, Severity
from trainworthy.check.live.adversarial import AdversarialWatch
from trainworthy.check.live.backward import BackwardWatch
from trainworthy.check.live.births import Births
from trainworthy.check.live.clipping import ClipWatch
from trainworthy.check.live.closing import Closing
from trainworthy.check.live.facts import LiveFacts
from trainworthy.check.live.facts_setup import LeftOut
from trainworthy.check.live.facts_steps import Kept
from trainworthy.check.live.filling import FillWatch
from trainworthy.check.live.freezing import look_at_freezing
from trainworthy.check.live.gradients import Gradients
from trainworthy.check.live.judge import judge
from trainworthy.check.live.labels import LabelWatch
from trainworthy.check.live.loaders import LoaderWatch
from trainworthy.check.live.loads import LoadWatch
from trainworthy.check.live.models import ModelWatch
from trainworthy.check.live.modules import ModuleWatch
from trainworthy.check.live.operators import OperatorWatch
from trainworthy.check.live.optimizers import OptimizerWatch
from trainworthy.check.live.origins import OriginWatch
from trainworthy.check.live.probes import run_probes
from trainworthy.check.live.seeding import SeedWatch
from trainworthy.check.live.signals import look_at_signals
from trainworthy.check.live.surroundings import Surroundings
from trainworthy.check.live.watch import Part, Watch, read
from trainworthy.errors import TrainworthyError
from trainworthy.tape.source import SourceFinder

_RAISES = Literal["never", "error", "warning"]
_RUNNING: list[Guard] = []


def _leave_forks_alone() -> None:
    """Look no more in a process that was forked, as a loader's worker is: nobody would hear of it, or want its end."""
    for guard in _RUNNING:
        guard._watch.looking = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_forks_alone)


class GuardError(TrainworthyError):
    """The guard found something, and was asked to stop the training for it.

    Attributes:
        findings: What it found.
    """

    exit_code = 1

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        first = findings[0]
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        super().__init__(f"{first.code} {first.message}{more}", where=str(first.place), fix=first.fix)
        self.findings = findings


class Guard:
    """Watches the first optimizer steps of any training loop; see ``trainworthy.guard``.

    Attributes:
        findings: What was found; complete once the guard is gone.
        facts: What was seen.
    """

    def __init__(
        self,
        *watched: Any,
        steps: int = 20,
        raises: _RAISES = "never",
        probe: bool = True,
        report: Callable[[Guard], None] | None = None,
        roots: tuple[str, ...] = (),
        home: Place | None = None,
        off_rules_too: bool = False,
        from_first_line: bool = False,
        evaluation_too: bool = False,
    ) -> None:
        self.steps = steps
        self._off_rules_too = off_rules_too
        self._from_first_line = from_first_line
        self.raises: _RAISES = raises
        self.findings: tuple[Finding, ...] = ()
        self.on_window_end: Callable[[], None] = lambda: None
        self.on_closing: Callable[[], None] = lambda: None
        self._evaluation_too = evaluation_too
        self._report = report
        self._probe = probe
        self._models = [m for m in watched if isinstance(m, nn.Module)]
        self._started = 0.0
        self._is_on = False
        finder = SourceFinder(roots)
        if home is None:
            number, _ = finder.find(sys._getframe(1))
            source = finder.sources[number]
            home = Place(source.path or "?", source.line)
        self._watch = Watch(finder, home)
        self._assemble()

    def _assemble(self) -> None:
        watch, gradients = self._watch, Gradients()
        self._modules = ModuleWatch(watch)
        self._operators = OperatorWatch(watch, self._modules)
        self._backward = BackwardWatch(watch, gradients, self._operators)
        self._optimizers = OptimizerWatch(watch, gradients, self._operators)
        self._optimizers.contributions = self._backward.contributions
        self._clips = ClipWatch(watch, gradients, self._operators)
        self._loaders = LoaderWatch(watch, self._operators)
        self._labels = LabelWatch(watch, self._operators)
        self._births = Births(watch, self._operators, self._backward)
        self._following = ModelWatch(watch, self._modules, self._operators, self._optimizers)
        self._following.loader_batch = lambda: self._loaders.batch_size
        self._modules.last_loader = lambda: self._loaders.last
        self._around = Surroundings(watch, self._modules, self._operators, self._backward, self._loaders)
        self._adversaries = AdversarialWatch(watch)
        self._adversaries.stepped = lambda: self._optimizers.held_by(self.facts.steps[-1].optimizer)
        self._modules.on_root.append(lambda *call: watch.attempt("adversaries", self._adversaries.module_called, *call))
        self._modules.on_root_exit.append(
            lambda *end: watch.attempt("adversaries", self._adversaries.module_left, *end)
        )
        self._seeds = SeedWatch(watch)
        self._fills = FillWatch(watch)
        self._fills.applied_at = lambda: self._around.applies.at
        self._closing = Closing(watch, self._end)
        self._modules.before_root = self._closing.before_root
        watch.on_failure = self._end
        self._around.collectives.on_mismatch = self._ranks_differ
        self._around.collates.may_call = self._around.datasets.may_call = self._probe
        self._around.saves.trained = lambda: self._optimizers.had_gradient
        self._backward.on_backward.append(self._optimizers.note_backward)
        self._backward.on_graph = self._note_graph
        self._labels.on_counted = self._around.padded.see
        self._backward.input_tensors = lambda: self._following.input_tensors
        self._optimizers.before_end.append(self._step_ends)
        self._optimizers.on_end.append(self._window_may_close)
        self._backward.on_end.append(self._window_may_end)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What was not looked at, or not to the end, because the look failed by itself."""
        return tuple(self._watch.facts.left_out)

    @property
    def is_closing(self) -> bool:
        """Whether the steps are over, and only what evaluates is still looked at, or was."""
        return self._closing.began

    @property
    def failed(self) -> bool:
        """Whether so much failed that nothing was concluded."""
        return self._watch.failed

    @property
    def facts(self) -> LiveFacts:
        """What was seen."""
        return self._watch.facts

    # --- life -------------------------------------------------------------------------------------

    def __enter__(self) -> Guard:
        if self._is_on or _RUNNING:
            raise TrainworthyError("A guard is on already; there can be one at a time.", fix="Leave its block first.")
        _RUNNING.append(self)
        self._is_on = True
        self._started = time.perf_counter()
        for model in self._models:
            self._watch.rely_on("models", self._learn, model)
        parts: list[Part] = [
            OriginWatch(self._watch), *self._around.parts, LoadWatch(self._watch), self._loaders, self._clips,
            self._optimizers, self._backward, self._modules, self._operators,
        ]  # fmt: skip
        self._watch.install([self._seeds, self._fills, *parts] if self._from_first_line else parts)
        return self

    def _learn(self, model: nn.Module) -> None:
        self._watch.names.learn(model)
        self._following.look_at(model)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        by_itself = kind is None or issubclass(kind, SystemExit)
        self._watch.facts.saw_the_end = self._is_on and by_itself and not self._closing.began
        failed = self.close()
        if failed is not None and error is None:
            raise failed

    def close(self) -> GuardError | None:
        """Stop looking, judge and report; returns the error to raise, if that was asked for. May be called twice."""
        if not self._is_on:
            return None
        self._is_on = False
        self._closing.end()
        _RUNNING.remove(self)
        watch = self._watch
        if not watch.failed:
            with watch.own_work():
                watch.rely_on("the end of the look", self._finish)
        watch.facts.seconds = time.perf_counter() - self._started
        watch.facts.loader_wait_s = self._loaders.wait_s
        watch.remove()
        self._operators.forget()
        self._adversaries.forget()
        self._following.calls.clear()
        self.findings = () if watch.failed else judge(watch.facts, off_too=self._off_rules_too)
        if self._report is not None:
            self._report(self)
        worst = [f for f in self.findings if SEVERITIES.index(f.severity) <= self._limit()]
        return GuardError(tuple(worst)) if worst else None

    def _finish(self) -> None:
        self._labels.step_ends()
        self._following.finish()
        self._modules.finish()
        self._optimizers.finish()
        self._around.finish()
        self._watch.attempt("samplers", self._loaders.samplers.finish)
        self._seeds.finish()
        self._watch.attempt("initialisation", self._fills.finish)

    def _limit(self) -> int:
        severities: dict[str, Severity] = {"error": "error", "warning": "warning"}
        return SEVERITIES.index(severities[self.raises]) if self.raises in severities else -1

    # --- steps ------------------------------------------------------------------------------------

    def _step_ends(self, place: Place) -> None:
        watch, facts = self._watch, self._watch.facts
        step = facts.steps[-1]
        losses = self._read_losses()
        self._labels.step_ends()
        watch.attempt("adversaries", self._adversaries.step_ends)
        self._births.look(losses, step.nonfinite, place)
        self._following.step_ends(place)
        stepped = self._optimizers.stepped.values()
        self._around.step_ends(
            place, [p for ref in stepped if (o := ref()) is not None for g in o.param_groups for p in g["params"]]
        )
        kept, at = watch.kept_graphs(3)
        if kept >= 3 and at is not None:
            facts.kept.append(Kept(place=at, steps=3, alive=kept))
        calls = self._following.take_calls()
        if calls and self._probe and watch.step == 0:
            calls[0].is_paired = self._operators.broadcasts.is_paired
            look_at_freezing(watch, calls[0])
            run_probes(watch, calls)
            look_at_signals(watch, calls[0], has_tanh=self._operators.has_called("tanh"))
        # Hooks on every node of the graph in the first steps only; a gradient that is not finite arms them again.
        self._backward.hook_nodes = watch.step < 1
        self._operators.mark_all = watch.step < 1
        self._operators.arguments.step_ends()
        self._operators.forget()

    def _note_graph(self, nodes: list[Any]) -> None:
        self._following.note_unregistered(nodes)
        self._watch.attempt("padding", self._around.padded.before_backward, nodes)
        self._watch.attempt("adversaries", self._adversaries.before_backward, nodes)

    def _read_losses(self) -> list[tuple[Place, float]]:
        facts, pending = self._watch.facts, self._backward.losses
        readings = [value for _, value, _ in pending]
        numbers = read([*readings, *(t for _, _, hashes in pending for t in hashes)])
        at, found = len(readings), []
        for (index, _, hashes), loss in zip(pending, numbers, strict=False):
            content = tuple(numbers[at : at + len(hashes)])
            at += len(hashes)
            fact = facts.backwards[index]
            facts.backwards[index] = replace(fact, loss=loss, inputs_hash=hash(content) if content else None)
            found.append((fact.place, loss))
        pending.clear()
        return found

    def _ranks_differ(self) -> None:
        """Say at once that ranks are out of step: what comes next may never end."""
        self._end()

    def _end(self) -> None:
        failed = self.close()
        self.on_window_end()
        if failed is not None:
            raise failed

    def _window_may_close(self) -> None:
        """Several optimizers may step for the last step; none of them trains once more."""
        if not self._closing.began:
            self._window_may_end()

    def _window_may_end(self) -> None:
        # Weights that are updated by hand show no step: then backward passes count, three for one.
        by_hand = self._watch.step == 0 and len(self.facts.backwards) >= 3 * self.steps
        if not self._is_on or not (by_hand or self._watch.step >= self.steps):
            return
        if self._evaluation_too and not self._closing.began:
            self._watch.attempt("samplers", self._loaders.samplers.steps_are_over)
            self._closing.begin()
            self.on_closing()
        else:
            self._end()
