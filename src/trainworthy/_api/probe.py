"""``trainworthy.probe``: experiments with a step function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainworthy._api.need_torch import need_torch
from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.check.finding import Finding, Place
    from trainworthy.check.live.experiments import Experiments
    from trainworthy.check.live.trial import Trial
    from trainworthy.tape.source import SourceFinder


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What the experiments found, and which could say something.

    Attributes:
        findings: Errors first.
        ran: Names of the experiments that had an answer.
        skipped: Why others had none, by name.
    """

    findings: tuple[Finding, ...]
    ran: tuple[str, ...]
    skipped: dict[str, str]

    def __str__(self) -> str:
        """Show the findings as the guard does, and one line about the rest."""
        from trainworthy.report.guard_text import finding_lines

        lines = [line for finding in self.findings for line in finding_lines(finding)]
        lines.append(f"trainworthy probe: {len(self.findings) or 'nothing'} found; looked at: {', '.join(self.ran)}.")
        lines += [f"not looked at: {name} ({why})" for name, why in self.skipped.items()]
        return "\n".join(lines)


def probe(
    step: Callable[..., Any],
    *batch: Any,
    state: dict[str, Any] | None = None,
    causal: bool = False,
    padding: int | None = None,
    batch_dim: int = 0,
    accumulate: Callable[[list[Any]], Any] | None = None,
    save: Callable[[str], Any] | None = None,
    load: Callable[[str], Any] | None = None,
    steps: int = 3,
) -> ProbeResult:
    """Experiment with a training step: is it what it seems?

    The step is run a few dozen times on the batch, each time from the state that models and optimizers have now; in the
    end everything is as it was, to the last bit, but gradients are dropped. What is looked at:

    ==============  ==================================================================================
    guard           all that ``trainworthy.guard`` sees in ``steps`` steps: clipping before unscaling, label shifts, ...
    samples         in evaluation mode, one sample is changed: the others must stay
    future          with ``causal``: the last position is changed, earlier ones must stay
    mask            tokens under a padding mask are changed, then tokens beside it
    evaluation      two forward passes in evaluation mode: is dropout alive?
    padding         what the model says between padding is changed: the loss must stay
    sizes           two equal sizes of the batch are made different
    accumulation    with ``accumulate``: the gradient of a whole batch and of its two halves
    resume          a step after saving and loading, and the same step without
    ==============  ==================================================================================

    >>> print(tw.probe(step, (x, y)))  # doctest: +SKIP

    Args:
        step: Called with ``batch``. It returns the loss, or a ``trainworthy.Step``, or runs the whole step itself.
        *batch: What it is given; tensors inside are copied before each run.
        state: Other things that a step changes, by name, with ``state_dict`` and ``load_state_dict``: schedulers,
            scalers. Models and optimizers are found.
        causal: Whether the model may not look at later positions.
        padding: The token that is padding; default: ``padding_idx`` of the model's only such embedding.
        batch_dim: The dimension of the samples.
        accumulate: Called with a list of batches; it accumulates their gradients, and may step.
        save: Called with a path, to write a checkpoint; default: the state dicts of models and optimizers.
        load: Called with that path.
        steps: How many steps the guard looks at.

    Raises:
        UsageError: If the step runs no backward pass and returns no loss; if one of save and load is missing.
    """
    need_torch("A probe")
    if (save is None) != (load is None):
        raise UsageError("Only one of save and load is given.", where="trainworthy.probe", fix="Pass both, or neither.")
    if steps < 1:
        raise UsageError(f"steps is {steps}; at least one step must be seen.", where="trainworthy.probe")
    from trainworthy.check.finding import Place
    from trainworthy.check.live.experiments import Experiments
    from trainworthy.check.live.guard import Guard
    from trainworthy.check.live.judge import judge
    from trainworthy.check.live.trial import Runner
    from trainworthy.check.live.twins import undisturbed
    from trainworthy.check.live.undo import Kept
    from trainworthy.tape.source import SourceFinder

    finder = SourceFinder()
    home = _place(finder, sys._getframe(1)) or Place("?", 1)
    kept = Kept(state)
    runner = Runner(kept, lambda: _place(finder, sys._getframe(1)) or home)
    with undisturbed():
        first = runner.run(step, *_copied(batch))
        start = kept.beginning()
        guard = Guard(steps=10 * steps, probe=False, home=home)
        experiments = Experiments(runner, guard.facts, start, step, batch)
        kept.back_to(start)
        with guard:
            _look(experiments, first, steps)
        ran, skipped = _experiments(
            experiments, first, finder, causal=causal, padding=padding, batch_dim=batch_dim, accumulate=accumulate,
            save=save, load=load,
        )  # fmt: skip
        kept.back_to(start)
    return ProbeResult(findings=judge(guard.facts), ran=("guard", "evaluation", *ran), skipped=skipped)


def _look(experiments: Experiments, first: Trial, steps: int) -> None:
    """Under the guard: some steps in a row, then each model in evaluation mode."""
    import torch

    for _ in range(steps):
        experiments.runner.run(experiments.step, *_copied(experiments.batch))
    experiments.runner.kept.back_to(experiments.start)
    for call in {id(call.model): call for call in first.calls}.values():
        call.model.eval()
        with torch.no_grad():
            for _ in range(2):
                call.model(*_copied(call.args), **_copied(call.kwargs))
    experiments.runner.kept.back_to(experiments.start)


def _experiments(
    experiments: Experiments, first: Trial, finder: SourceFinder, *, causal: bool, padding: int | None, batch_dim: int,
    accumulate: Callable[[list[Any]], Any] | None, save: Any, load: Any,
) -> tuple[list[str], dict[str, str]]:  # fmt: skip
    """Run one after the other; return the names of those with an answer, and why others have none."""
    call = first.calls[0] if first.calls else None
    plan: dict[str, Callable[[], str | None]] = {}
    if call is not None:
        plan["samples, future, mask" if causal else "samples, mask"] = lambda: experiments.of_model(
            call, causal=causal, batch_dim=batch_dim
        )
        plan["padding"] = lambda: experiments.of_padding(call, padding)
    plan["sizes"] = lambda: experiments.of_sizes(lambda error: _described(error, finder))
    if accumulate is not None:
        plan["accumulation"] = lambda: experiments.of_accumulation(accumulate, batch_dim)
    plan["resume"] = lambda: experiments.of_resume(save, load)
    ran, skipped = [], {}
    for name, experiment in plan.items():
        try:
            why = experiment()
        except Exception as error:  # a step may refuse what an experiment asks of it; it runs as it is
            why = f"{type(error).__name__}: {error}"
        if why is None:
            ran.append(name)
        else:
            skipped[name] = why
    return ran, skipped


def _described(error: Exception, finder: SourceFinder) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": "exception", "message": f"{type(error).__name__}: {error}"}
    trace = error.__traceback__
    while trace is not None:
        if finder.is_user(trace.tb_frame.f_code):
            found.update(path=finder.relative(trace.tb_frame.f_code.co_filename), line=trace.tb_lineno)
        trace = trace.tb_next
    return found


def _place(finder: SourceFinder, frame: Any) -> Place | None:
    from trainworthy.check.finding import Place

    source = finder.sources[finder.find(frame)[0]]
    return Place(source.path, source.line) if source.path else None


def _copied(batch: Any) -> Any:
    import copy

    return copy.deepcopy(batch)
