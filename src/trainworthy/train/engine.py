"""The loop. ``train(recipe, folder=...)`` sets a run up and takes it to its end; :class:`Run` is that run.

A step, in the order in which things happen:

1. The loader yields this rank's micro-batches of the step, all of them.
2. They are weighed; the ranks add their weights up, and agree whether someone asked to stop.
3. The random numbers of the step are set: a function of the seed, the step and the rank.
4. Each phase runs: forward and backward of every micro-batch, clipping, the optimizer (``phase.py``).
5. The average of the weights takes the step in.
6. What is due is done: a row of metrics, an evaluation, a checkpoint.

All that a run knows is in :meth:`Run.state`; a run that goes on from it is equal to one that was never interrupted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from trainworthy.errors import TrainError
from trainworthy.train import setup
from trainworthy.train.average import Average
from trainworthy.train.batches import counter, moved
from trainworthy.train.due import is_due
from trainworthy.train.evaluation import evaluating
from trainworthy.train.finite import NotFiniteError, finite_error
from trainworthy.train.loading import StepData
from trainworthy.train.meters import Meters
from trainworthy.train.optimizer_state import by_name, load_by_name
from trainworthy.train.outcome import Best, Outcome, quality_met
from trainworthy.train.phase import PhaseRun, Work
from trainworthy.train.randomness import capture, restore
from trainworthy.train.ranks import Ranks
from trainworthy.train.recipe import Recipe
from trainworthy.train.signals import Stop, exit_code, reason

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

Watcher = Callable[["nn.Module", "Sequence[Optimizer]"], AbstractContextManager[Any]]


def train(
    recipe: Recipe,
    *,
    folder: Path,
    watchers: Sequence[Watcher] = (),
    flops_per_step: float | None = None,
    peak_flops_per_s: float | None = None,
    quiet: bool = False,
) -> Outcome:
    """Train a recipe to its end, or on from the newest sound checkpoint of its folder.

    Under torchrun every process calls this; a process group that exists is used.

    Args:
        recipe: What to train, and its options.
        folder: Where the run keeps its metrics, checkpoints and traces.
        watchers: Each is called with the model and the optimizers before the first step and returns a context that
            is left at the end, such as ``lambda model, optimizers: trainworthy.guard(model, *optimizers)``.
        flops_per_step: FLOP of one step over all ranks, for the MFU; None: it is not logged.
        peak_flops_per_s: What one device of the run could do at most, in FLOP/s.
        quiet: Show no progress.

    Raises:
        UsageError: An option is out of its range, or asks for what the recipe does not describe.
        TrainError: The run cannot go on: a loss that is not finite, weights that do not fit, ...
    """
    with ExitStack() as stack:
        here = stack.enter_context(setup.processes(recipe.options))
        stop = stack.enter_context(Stop(recipe.options.max_time_s))
        speed = setup.Speed(flops_per_step=flops_per_step, peak_flops_per_s=peak_flops_per_s)
        run = Run(recipe, folder, stop=stop, here=here, speed=speed, quiet=quiet)
        stack.callback(run.close)
        optimizers = [phase.optimizer for phase in run.phases]
        for watcher in watchers:
            stack.enter_context(watcher(run.model, optimizers))
        return run.to_the_end()


class Run:
    """One run: its parts, its position, and the loop.

    Attributes:
        model: As the losses see it.
        phases: One for each optimizer.
        step: Steps done.
        sample: Number of the sample with which the next step begins.
        epoch: Epoch of the last step.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, *, stop: Stop, here: Ranks, speed: setup.Speed, quiet: bool = False
    ) -> None:
        options = setup.checked(recipe)
        self.recipe, self.options, self.folder, self._stop = recipe, options, folder, stop
        self.device = device = here.device
        self.layout = setup.find_layout(options, device)
        self.precision = setup.numbers(options, device)
        self._spread = setup.model(recipe, self.layout, self.precision)
        self.model = self._spread.model
        self._loader = setup.loader(recipe, self.layout, device, here)
        self.steps = setup.steps(options, self._loader)
        self._meters = Meters()
        self.phases = setup.phases(recipe, self._spread, self.precision, self._meters, self.steps)
        self._average = Average(self.model, options.ema_decay) if options.ema_decay is not None else None
        self._evaluation = setup.evaluation(recipe, self.layout, self.precision)
        self._seed_step = setup.step_seeder(options, self.layout, device)
        self._count = counter(recipe.count)
        self.step = self.sample = self.epoch = 0
        self._metrics: dict[str, float] = {}
        self._best = Best(options.best_metric, options.best_is == "highest")
        self._evaluated, self._saved = 0, 0  # the steps after which that was last done
        self._stop_code = 0
        self._progress = setup.progress(options, self.layout, self.steps, quiet=quiet)
        self._checkpoints = setup.checkpoints(recipe, folder, self.layout, here, say=self._progress.warn)
        left_out = setup.without_phase(self.model, (each for phase in self.phases for _, each in phase.parameters))
        if left_out and self.layout.first:
            self._progress.warn(left_out)
        self.resumed_from: Path | None = None
        per_rank = self._resume()
        self._steps = self._begin_data(per_rank)
        self._journal = setup.journal(options, folder, self.layout, after_step=self.step, warn=self._progress.warn)
        self._profile = setup.profile(options, folder, self.layout)
        self._speed = speed
        self._clock = setup.Clock()

    # --- the loop ---------------------------------------------------------------------------------------------------

    def to_the_end(self) -> Outcome:
        """Take all steps that are left."""
        stopped_by = self._evaluate() if self._evaluation_is_owed() else None
        self._clock.start(self.step, self.sample)
        while stopped_by is None and self.step < self.steps:
            data = next(self._steps, None)
            if data is None:  # a stream that has ended, or a rehearsal that lets loaders run dry
                stopped_by = self._evaluate() if self._evaluation is not None else None
                break
            self._take(data)
            stopped_by = self._do_what_isis_due(data)
        return self._end(stopped_by)

    def _take(self, data: StepData) -> None:
        """Take one step."""
        self._profile.before(data.step)
        batches, weights = self._weigh(data)
        total = self._agree(sum(weights))
        if not total > 0:
            raise TrainError(f"Step {data.step} has no items to count: its weight is {total:g}.", where="Recipe.count")
        self._seed_step(data.step)
        work = Work(data.step, batches, weights, total, data.micro_batches, data.indices)
        for phase in self.phases:
            if data.step % phase.phase.every == 0:
                try:
                    phase.run(work)
                except NotFiniteError as error:
                    raise self._explain(error, phase) from None
        self._spread.join_buffers()
        if self._average is not None:
            self._average.update()
        self._clock.items += total
        self.step, self.sample, self.epoch = data.step + 1, data.next_sample, data.epoch

    def _do_what_isis_due(self, data: StepData) -> str | None:
        """Log, evaluate and save as the options say; return why the run has to stop, or None."""
        options, step = self.options, self.step
        if step % options.log_every == 0 or step == self.steps:
            self._log()
        self._progress.step(step)
        if self._stop_code:
            return reason(self._stop_code)
        stopped_by = None
        if self._evaluation is not None and is_due(options.evaluate_every, step, data.ends_epoch, step == self.steps):
            stopped_by = self._evaluate()
        if step > self._saved and is_due(options.checkpoint_every, step, data.ends_epoch, step == self.steps):
            self._save()
        return stopped_by

    def _weigh(self, data: StepData) -> tuple[tuple[Any, ...], list[float]]:
        """Return the micro-batches on the device, and the weight of each; fillers weigh nothing."""
        count, batches = self._count, data.micro_batches
        weights: list[float] = [count(batch) for batch in batches]
        for place in range(len(batches) - data.fillers, len(batches)):
            weights[place] = 0.0
        if self.device.type == "cpu":
            return tuple(batches), weights
        return tuple(moved(batch, self.device) for batch in batches), weights

    def _agree(self, weight: float) -> float:
        """Return the weight of the step over all ranks; learn whether one of them was asked to stop."""
        if self.layout.world == 1:
            self._stop_code = self._stop.code
            return weight
        rows = self.layout.gather([weight, float(self._stop.code)])
        self._stop_code = int(max(code for _, code in rows))
        return sum(each for each, _ in rows) / (self.layout.tensor * self.layout.pipeline)

    def _settle(self) -> None:
        """Have all steps judged whose numbers are still on their way from the device."""
        for phase in self.phases:
            try:
                phase.settle()
            except NotFiniteError as error:
                raise self._explain(error, phase) from None

    def _explain(self, error: NotFiniteError, phase: PhaseRun) -> TrainError:
        """Return an error that says where the number came from, on whichever rank that was."""

        def loss(model: nn.Module, batch: Any) -> Any:
            with self.precision.context():
                return phase.phase.loss(model, batch)

        work = error.work
        self._seed_step(work.step)
        return finite_error(
            error,
            self.model,
            tuple(moved(batch, self.device) for batch in work.loaded),
            loss,
            place=f"step {work.step}, phase {phase.phase.name!r}",
            layout=self.layout,
            in_parts=self._spread.in_parts,
        )

    # --- what is due ------------------------------------------------------------------------------------------------

    def _log(self) -> None:
        self._settle()
        numbers = self._meters.read(self.layout.sum if self.layout.world > 1 else None)
        for phase in self.phases:
            numbers[f"{phase.prefix}lr"] = phase.learning_rate
            if phase.scaler is not None:
                numbers[f"{phase.prefix}loss_scale"] = phase.scaler.value
        numbers.update(self._clock.rates(self.step, self.sample, self._speed, self.layout.world))
        self._journal.write("train", self.step, self.epoch, numbers)
        self._progress.numbers(numbers)

    def _evaluation_is_owed(self) -> bool:
        """Say whether the run was stopped after a step whose evaluation did not take place."""
        per_epoch = self._loader.steps_per_epoch
        ends_epoch = per_epoch is not None and self.step % per_epoch == 0
        due = is_due(self.options.evaluate_every, self.step, ends_epoch, self.step == self.steps)
        return self._evaluation is not None and 0 < self.step != self._evaluated and due

    def _evaluate(self) -> str | None:
        """Measure the validation data; return why the run has to stop, or None."""
        assert self._evaluation is not None
        self._settle()
        began = time.perf_counter()
        with self._average.in_place() if self._average is not None else nullcontext():
            metrics = self._evaluation.run(self.model, self._asked_to_stop)
            self._spread.after_evaluation()
        if metrics is None:
            return reason(self._stop_code)
        self._metrics, self._evaluated = metrics, self.step
        self._journal.write("evaluation", self.step, self.epoch, metrics)
        self._progress.say(f"step {self.step}  evaluation  " + "  ".join(f"{k} {v:.4g}" for k, v in metrics.items()))
        is_best = self._best.take(metrics, self.step)
        for phase in self.phases:
            if phase.observing is not None:
                phase.observing.observe(metrics[self._best.metric])
        if is_best:
            self._save(best=True)
        self._clock.pause(time.perf_counter() - began)
        patience = self.options.early_stopping_patience
        return "early stopping" if patience is not None and self._best.since >= patience else None

    def _asked_to_stop(self) -> bool:
        self._agree(0.0)
        return bool(self._stop_code)

    def _end(self, stopped_by: str | None) -> Outcome:
        """Save, and at the end of training finish."""
        ended = stopped_by in {None, "early stopping"}
        self._checkpoints.wait()
        if self._checkpoints.newest != self.step:  # also where an earlier attempt at this step failed
            self._save(final=True)
        results: Mapping[str, float] = self._finish() if ended else {}
        numbers = {**self._metrics, **results}
        met = quality_met(self.recipe.quality, numbers) if ended and self.layout.first else None
        if self.layout.world > 1:  # only the first rank has results; all leave with one answer
            results, met = self.layout.gather_objects((results, met))[0]
        if ended:
            self._journal.write("end", self.step, self.epoch, numbers)
        return Outcome(
            folder=self.folder,
            step=self.step,
            epoch=self.epoch,
            stopped_by=stopped_by or "end",
            metrics=self._metrics,
            best={**self._best.metrics, "step": self._best.step} if self._best.metrics else {},
            results=results,
            quality_met=met,
            exit_code=0 if ended else exit_code(self._stop_code),
            resumed_from=self.resumed_from,
        )

    def _finish(self) -> Mapping[str, float]:
        """Call the recipe's last word: on rank 0, on all where the model is in parts."""
        if self.recipe.finish is None or not (self.layout.first or self._spread.in_parts):
            return {}
        average = self._average.in_place() if self._average is not None else nullcontext()
        self._seed_step(self.steps)
        with average, evaluating(self.model), torch.no_grad():
            results = dict(self.recipe.finish(self.model))
            self._spread.after_evaluation()
        return results

    def close(self) -> None:
        """Let go of workers, files and hooks; calling it again does nothing."""
        for part in (self._loader, self._profile, self._journal, self._checkpoints, *self.phases):
            part.close()
        self._progress.close(self.step)

    # --- state ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return everything that a run needs to go on exactly: tensors and plain data."""
        self._settle()
        parameters = list(self.model.named_parameters())
        state = {
            "model": dict(self.model.state_dict()),
            "phases": {
                phase.phase.name: {"optimizer": by_name(phase.optimizer, parameters), **phase.state_dict()}
                for phase in self.phases
            },
            "average": None if self._average is None else dict(self._average.state_dict()),
            "best": self._best.state_dict(),
            "metrics": dict(self._metrics),
            "evaluated": self._evaluated,
            "meters": self._meters.state(self.layout.sum if self.layout.world > 1 else None),
        }
        return state if self._spread.pipeline is None else self._spread.pipeline.whole_state(state)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take the state of another run.

        Raises:
            TrainError: It belongs to another model or other phases.
        """
        if self._spread.pipeline is not None:
            state = self._spread.pipeline.own_state(state)
        setup.load_model(self.model, state["model"])
        if set(state["phases"]) != {phase.phase.name for phase in self.phases}:
            raise TrainError(
                f"The checkpoint has the phases {sorted(state['phases'])}, the recipe has others.",
                where="Recipe.phases",
                fix="Resume with the recipe that wrote the checkpoint, or start anew in another folder.",
            )
        parameters = list(self.model.named_parameters())
        for phase in self.phases:
            own = state["phases"][phase.phase.name]
            load_by_name(phase.optimizer, own["optimizer"], parameters)
            phase.load_state_dict(own)
        if self._average is not None and state["average"] is not None:
            self._average.load_state_dict(state["average"])
        self._best.load_state_dict(state["best"])
        self._metrics, self._evaluated = dict(state["metrics"]), state["evaluated"]
        self._meters.load_state(state["meters"], counts=self.layout.data_rank == 0)

    def _save(self, *, best: bool = False, final: bool = False) -> None:
        began = time.perf_counter()
        self._checkpoints.save(
            self.state(),
            step=self.step,
            sample=self.sample,
            epoch=self.epoch,
            score=self._best.value if best else None,
            best=best,
            final=final,
            per_rank={"loader": self._loader.state_dict(), "random": capture(self.device)},
        )
        self._saved = self.step
        self._clock.pause(time.perf_counter() - began)

    def _resume(self) -> Mapping[str, Any] | None:
        """Go on from the newest sound checkpoint, or the one that the options name; return this rank's own part."""
        path = self._checkpoints.find(self.options.resume)
        if path is None:
            return None
        loaded = self._checkpoints.load(path, like=setup.sharded_parameters(self.model))
        self.load_state(loaded.state)
        self.step, self.sample = loaded.manifest.step, loaded.manifest.sample
        self.epoch, self._saved = loaded.manifest.epoch, self.step
        self.resumed_from = path
        for note in loaded.notes if self.layout.first else ():
            self._progress.warn(f"{note}: the run goes on, but it is not bit-equal to one that was not interrupted.")
        return loaded.per_rank

    def _begin_data(self, per_rank: Mapping[str, Any] | None) -> Any:
        if per_rank is not None:
            self._loader.load_state_dict(per_rank["loader"])
            restore(per_rank["random"], self.device)
        return self._loader.steps(self.step, self.sample, self.steps)
