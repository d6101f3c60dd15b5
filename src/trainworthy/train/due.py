"""When an evaluation or a checkpoint takes place."""

from __future__ import annotations


def is_due(every: int | None, step: int, ends_epoch: bool, is_last: bool) -> bool:
    """Say whether something is due after a step.

    Args:
        every: Steps between; None: each epoch; 0: only at the end.
        step: Steps done.
        ends_epoch: The step was the last of its epoch.
        is_last: The step was the last of the run.

    >>> [step for step in range(1, 9) if is_due(3, step, ends_epoch=step % 4 == 0, is_last=step == 8)]
    [3, 6, 8]
    >>> [step for step in range(1, 9) if is_due(None, step, ends_epoch=step % 4 == 0, is_last=step == 8)]
    [4, 8]
    """
    if is_last:
        return True
    return ends_epoch if every is None else every > 0 and step % every == 0
