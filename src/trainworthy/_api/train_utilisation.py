"""What the model FLOPs utilisation of a run is worked out from: FLOPs of a step by its tape, and the GPU's row.

Definition: model FLOP/s over the dense peak of all GPUs in the run's precision; recomputation of checkpointed
activations does not count (Chowdhery et al., PaLM, 2022, appendix B).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trainworthy.errors import UsageError

if TYPE_CHECKING:
    from trainworthy.inspect import RehearsalResult
    from trainworthy.train.recipe import TrainOptions

__all__ = ["UNKNOWN", "Utilisation", "rehearsed_words", "utilisation"]

_OFF = "train.mfu=false"


class Utilisation(NamedTuple):
    """What the engine is told; None: the rates are not logged."""

    flops_per_step: float | None = None
    peak_flops_per_s: float | None = None


UNKNOWN = Utilisation()


def utilisation(options: TrainOptions, words: Sequence[str], *, config: str | None = None) -> Utilisation:
    """Rehearse the run on a virtual copy of the GPU at hand, if ``train.mfu`` asks for it; only rank 0 does.

    Args:
        options: Of the run.
        words: The recipe and its settings, as on the command line.
        config: The file of settings, if one was given.

    Raises:
        UsageError: There is no GPU, none whose peak is known, or the rehearsal saw no whole step.
    """
    if not options.mfu or os.environ.get("RANK", "0") != "0":
        return UNKNOWN
    import torch

    if torch.cuda.Event.__module__.startswith("trainworthy."):  # this is a rehearsal: its GPU is a virtual one
        return UNKNOWN

    from trainworthy.hardware import gpu_row

    if options.device == "cpu" or not torch.cuda.is_available():
        raise UsageError(
            f"train.mfu is set, and the run is not on a GPU (train.device={options.device}).",
            fix="Leave train.mfu out: of a CPU no peak is stated.",
        )
    row = gpu_row(torch.cuda.get_device_name())
    peak = row.peak_tflops(options.precision)
    if peak is None:
        raise UsageError(
            f"train.mfu is set, and the row of {row.id} states no peak for {options.precision}.",
            fix="Leave train.mfu out, or add a row: trainworthy gpus add.",
        )
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    result = _rehearse(rehearsed_words(words, config), gpu=row.id, ranks=ranks)
    if result.model_flops_per_step is None:
        raise UsageError(
            f"train.mfu is set, and the rehearsal on a virtual {row.id} saw no whole step ({result.verdict}).",
            fix="See why: trainworthy train RECIPE --dry-run; or leave train.mfu out.",
        )
    return Utilisation(float(result.model_flops_per_step) * ranks, peak * 1e12)


def rehearsed_words(words: Sequence[str], config: str | None) -> list[str]:
    """Return the arguments of the same run for a rehearsal, which counts no FLOPs of its own."""
    return ["train", *words, _OFF, *(["--config", config] if config else [])]


def _rehearse(words: Sequence[str], *, gpu: str, ranks: int) -> RehearsalResult:
    from trainworthy._api.rehearse import rehearse

    with tempfile.TemporaryDirectory(prefix="trainworthy-") as empty:
        return rehearse(
            "trainworthy", is_module=True, args=[*words, "--output", str(Path(empty) / "run")], gpu=gpu,
            world_size=ranks if ranks > 1 else None, rank=0 if ranks > 1 else None,
        )  # fmt: skip
