"""What the process that runs a user's script is told, and what it answers; nothing here needs torch.

The parent writes a ``Job`` as JSON, the child runs it and leaves in the scratch folder:

===================  ==========================================================================
``tape.twt``         the tape, complete or (time limit, exception) as far as it got
``outcome.json``     an ``Outcome``; absent if the process died before it could write one
``progress.json``    how far it is, rewritten twice a second
``faults.txt``       the Python lines at which a signal such as SIGABRT or SIGSEGV struck
===================  ==========================================================================
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

TargetKind = Literal["script", "module", "function", "notebook"]

TAPE = "tape.twt"
OUTCOME = "outcome.json"
PROGRESS = "progress.json"
FAULTS = "faults.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One rehearsal of one script on one virtual GPU (``gpu`` None: a GPU without a row).

    With ``world_size``, the GPU is that of ``rank`` in a virtual cluster. With ``imitate_cpu`` operations decompose as
    on the CPU, whatever device the script asks for.
    """

    target: str
    kind: TargetKind
    scratch: str
    args: tuple[str, ...] = ()
    gpu: str | None = None
    steps: int = 2
    time_limit_s: float = 300.0
    memory_limit_bytes: int | None = None
    data: str | None = None
    imitate_cpu: bool = False
    whole_evaluation: bool = False
    resize: dict[str, Any] | None = None  # smaller batches, see ``notes_batches.py``
    keep_shapes: bool = False  # the shapes of every call of the script's own modules
    world_size: int | None = None
    gpus_per_node: int | None = None
    rank: int = 0
    ranks_folder: str | None = None  # where the scratch folders of the ranks that are rehearsed together are

    def save(self, path: str | Path) -> None:
        """Write the job as JSON."""
        Path(path).write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")


def load_job(path: str | Path) -> Job:
    """Read a job that ``Job.save`` wrote."""
    raw = json.loads(Path(path).read_text(encoding="utf-8"))
    return Job(**{**raw, "args": tuple(raw["args"])})


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How the script ended. ``error`` is None or ``{kind, message, path, line}`` and more.

    ``steps`` counts complete optimizer steps. ``notes`` go into the tape's notes.
    """

    error: dict[str, Any] | None = None
    steps: int = 0
    has_tape: bool = False
    notes: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: str | Path) -> None:
        """Write the outcome beside the tape; it is there completely or not at all."""
        path = Path(folder) / OUTCOME
        partial = path.with_suffix(".tmp")
        partial.write_text(json.dumps(dataclasses.asdict(self), default=str), encoding="utf-8")
        partial.replace(path)


def load_outcome(folder: str | Path) -> Outcome | None:
    """Read the outcome in ``folder``; None if the process died before it wrote one."""
    try:
        raw = json.loads((Path(folder) / OUTCOME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Outcome(**raw)


def make_error(
    kind: str,
    message: str,
    *,
    path: str | None = None,
    line: int | None = None,
    fix: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return an error as the machine interface words it."""
    error = {"kind": kind, "message": message, "path": path, "line": line, **more}
    if fix is not None:
        error["fix"] = fix
    return error


def environment(scratch: str) -> dict[str, str]:
    """Return the environment of the child: offline, no trackers, temporary files in ``scratch``."""
    temporary = str(Path(scratch) / "tmp")
    return {
        **os.environ,
        "PYTORCH_JIT": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "",
        "TMPDIR": temporary,
        "TEMP": temporary,
        "TMP": temporary,
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(Path(scratch) / "matplotlib"),
        "TOKENIZERS_PARALLELISM": "false",
        "TORCHINDUCTOR_CACHE_DIR": str(Path(scratch) / "inductor"),
        "TRITON_CACHE_DIR": str(Path(scratch) / "triton"),
        **_OFFLINE,
        "WANDB_DIR": scratch,
        "MLFLOW_TRACKING_URI": f"file://{scratch}/mlruns",
        "COMET_OFFLINE_DIRECTORY": scratch,
        "CLEARML_CACHE_DIR": scratch,
    }


_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "disabled",  # "offline" starts a server process
    "WANDB_SILENT": "true",
    "COMET_MODE": "disabled",
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "NEPTUNE_MODE": "debug",
    "CLEARML_OFFLINE_MODE": "1",
    "SWANLAB_MODE": "disabled",
    "DO_NOT_TRACK": "1",
}
