"""Shape annotations for a script's modules: rehearse it with the batch and the length changed, and look; no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainworthy.check.dry.equal_sizes import sizes_of, smaller
from trainworthy.check.dry.suggest import Suggestion, Varied, suggestions
from trainworthy.errors import TrainworthyError
from trainworthy.tape.record import Tape


def suggest_shapes(target: str | Path, **options: Any) -> tuple[Suggestion, ...]:
    """Return annotations for every module of the script that is called in training.

    Args:
        target: A script, notebook, module or ``package.module:function``.
        **options: Fields of a rehearsal's ``Job``, and ``args``, ``is_module``, ``on_progress``.

    Raises:
        TrainworthyError: If the script fails.
        UsageError: If there is no such script.
    """
    from trainworthy._api.rehearse import make_job, run_alone

    progress = options.pop("on_progress", None)

    def calls(resize: Mapping[str, Any] | None) -> Tape | None:
        job = make_job(target, **{**options, "steps": 1, "keep_shapes": True, "resize": resize})
        outcome, tape, _ = run_alone(job, progress)
        if outcome.error is not None and resize is None:
            place = f"{outcome.error['path']}:{outcome.error['line']}" if outcome.error.get("path") else None
            raise TrainworthyError(outcome.error["message"], where=place, fix=outcome.error.get("fix"))
        return tape if outcome.error is None else None

    tape = calls(None)
    assert tape is not None
    varied = [
        Varied(name=name, before=before, after=after, classes=again.notes["check"]["calls"])
        for name, before, after, resize in _variations(tape)
        if (again := calls(resize)) is not None
    ]
    return tuple(suggestions(tape.notes["check"]["calls"], varied))


def _variations(tape: Tape) -> list[tuple[str, int, int, dict[str, Any]]]:
    """Return what can be changed: how many samples a batch has, how long its sequences of tokens are."""
    batches, taken = tape.notes["check"]["batches"], sizes_of(tape)
    found: list[tuple[str, int, int, dict[str, Any]]] = []
    samples = batches["samples"]
    fewer = smaller(samples, taken) if samples else None
    if fewer is not None:
        found.append(("batch", samples, fewer, {"samples": [samples, fewer]}))
    tokens = [(k, shape) for k, (dtype, shape) in enumerate(batches["tensors"]) if _is_tokens(dtype, shape)]
    lengths = {shape[1] for _, shape in tokens}
    if len(lengths) == 1 and (length := lengths.pop()) > 2:
        shorter = smaller(length, taken)
        if shorter is not None:
            crops = [[k, 1, length, shorter] for k, _ in tokens]
            found.append(("time", length, shorter, {"crops": crops}))
    return found or _variations_of_moves(batches["moves"], taken)


def _variations_of_moves(moves: Sequence[Mapping[str, Any]], taken: set[int]) -> list[Any]:
    """Without a loader: the dimensions of what moves to the GPU in every step, if all that moves agrees on them."""
    steady = [move for move in moves if move["shape"]]
    found = []
    for name, dim in (("batch", 0), ("time", 1)):
        sizes = {move["shape"][dim] for move in steady if len(move["shape"]) > dim}
        other = smaller(max(sizes), taken) if len(sizes) == 1 else None
        if other is not None:
            cut = [[move["line"], move["shape"], dim, other] for move in steady if len(move["shape"]) > dim]
            found.append((name, max(sizes), other, {"moved": cut}))
    return found


def _is_tokens(dtype: str, shape: Sequence[int]) -> bool:
    return dtype in ("int64", "int32") and len(shape) == 2
