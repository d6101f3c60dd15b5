"""``trainworthy.guard`` and the callbacks for Lightning, the Hugging Face Trainer and Accelerate."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal

from trainworthy._api.need_torch import need_torch

if TYPE_CHECKING:
    from trainworthy.check.live.guard import Guard


def guard(
    *watched: Any,
    steps: int = 20,
    raises: Literal["never", "error", "warning"] = "never",
    probe: bool = True,
    quiet: bool = False,
) -> Guard:
    """Look at the first optimizer steps of any training loop, and say what is wrong with them.

    >>> with guard(model, optimizer) as g:  # doctest: +SKIP
    ...     for x, y in loader:
    ...         train_one_step(x, y)
    >>> g.findings  # doctest: +SKIP

    Training is the same to the last bit with and without it. After ``steps`` steps it takes itself out and prints what
    it found, to standard error; so it does when the block ends earlier, by an exception too.

    Args:
        *watched: The model and the optimizer, if they exist already; others are found as they run.
        steps: How many calls of ``optimizer.step()`` to see, over all optimizers.
        raises: From which severity on a finding stops the training, with ``GuardError``, when the look is over.
        probe: Whether a copy of the model may run a few extra times after the first step.
        quiet: Whether nothing is printed.
    """
    need_torch("A guard")
    from trainworthy.check.finding import Place
    from trainworthy.check.live.guard import Guard
    from trainworthy.tape.source import SourceFinder

    finder = SourceFinder()
    source = finder.sources[finder.find(sys._getframe(1))[0]]
    home = Place(source.path or "?", source.line)
    flat = [one for each in watched for one in (each if isinstance(each, (list, tuple)) else (each,))]
    return Guard(*flat, steps=steps, raises=raises, probe=probe, report=None if quiet else _print, home=home)


def _print(found: Guard) -> None:
    """Print on rank 0, as the other ranks saw the same; each tells itself that it is out of step, or failed."""
    from trainworthy.report.guard_text import render_guard

    if _rank() == 0 or found.facts.collectives or found.left_out:
        text = render_guard(
            found.findings, steps=found.facts.num_steps, left_out=found.left_out, failed=found.failed
        )  # fmt: skip
        sys.stderr.write(text + "\n")


def _rank() -> int:
    from torch import distributed

    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def lightning_guard(**options: Any) -> Any:
    """Return a callback for ``lightning.Trainer(callbacks=[...])``; options are those of ``guard``."""
    import importlib
    import importlib.util

    name = "lightning.pytorch" if importlib.util.find_spec("lightning") else "pytorch_lightning"
    base: Any = importlib.import_module(f"{name}.callbacks").Callback

    class GuardCallback(base):  # type: ignore[misc]
        """Looks at the first steps of ``fit``; ``guard.findings`` afterwards."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.guard = guard(trainer.model or pl_module, **options)
            self.guard.__enter__()

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            _leave(self)

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            _leave(self, may_raise=False)

    return GuardCallback()


def trainer_guard(**options: Any) -> Any:
    """Return a callback for ``transformers.Trainer(callbacks=[...])``; options are those of ``guard``."""
    from transformers import TrainerCallback

    class GuardCallback(TrainerCallback):
        """Looks at the first steps of ``train``; ``guard.findings`` afterwards."""

        def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
            self.guard = guard(model, **options)
            self.guard.__enter__()

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            _leave(self)

    return GuardCallback()


def _leave(callback: Any, *, may_raise: bool = True) -> None:
    found = getattr(callback, "guard", None)
    failed = found.close() if found is not None else None
    if failed is not None and may_raise:
        raise failed
