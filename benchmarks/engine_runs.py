"""A small run of the engine that draws random numbers wherever one can, to be killed and started again.

The model has dropout and batch normalisation, its samples and their collation are augmented with torch's, numpy's and
Python's generators, gradients are accumulated over micro-batches and clipped, the learning rate has a schedule and the
weights an average. :func:`start` runs it in processes forked from a server that has imported torch, so that a start
takes a tenth of a second.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import multiprocessing
import os
import random
import socket
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

STEPS, BATCH, SAMPLES, SAVE_EVERY, WIDTH = 64, 12, 102, 4, 24
_STACKS_AFTER_S = 90.0
_PRELOADED = ["pytest", "torch._dynamo", "torch.distributed.fsdp", "torch.distributed.checkpoint", "numpy"]


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run it; runs of one variant have to end alike, bit by bit."""

    name: str
    ranks: int = 1
    options: Mapping[str, Any] | None = None


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("one process"),
        Variant("one process, 2 workers, saves in the background", 1, {"workers": 2, "async_checkpoint": True}),
        Variant("two processes", 2),
        Variant("two processes, sharded", 2, {"distributed": "fsdp"}),
        Variant(
            "two processes, sharded, saves in the background", 2, {"distributed": "fsdp", "async_checkpoint": True}
        ),
    )
}


def recipe(options: Mapping[str, Any] | None = None) -> Any:
    """Return the recipe; torch is imported here."""
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F

    from trainworthy.train.recipe import Loss, Phase, Recipe, TrainOptions

    class Noisy(torch.utils.data.Dataset[Any]):
        def __init__(self, seed: int) -> None:
            generator = torch.Generator().manual_seed(seed)
            self.x = torch.randn(SAMPLES, WIDTH, generator=generator)
            self.y = self.x[:, :4].argmax(1)

        def __len__(self) -> int:
            return SAMPLES

        def __getitem__(self, index: int) -> Any:
            noise = torch.randn(WIDTH) + random.gauss(0, 1) + float(np.random.randn())
            return self.x[index] + 0.1 * noise, self.y[index]

    def collate(items: list[Any]) -> Any:
        x, y = torch.utils.data.default_collate(items)
        return x * (torch.rand_like(x) > 0.05), y

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Linear(WIDTH, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2),
            nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Dropout(0.2)), nn.Linear(32, 4),
        )  # fmt: skip

    def loss(net: nn.Module, batch: Any) -> Loss:
        return Loss(total=F.cross_entropy(net(batch[0]), batch[1], reduction="sum"), weight=len(batch[1]))

    phase = Phase(
        loss=loss,
        optimizer=lambda named: torch.optim.AdamW([each for _, each in named], lr=1e-2),
        schedule=lambda step, steps: 1 - step / steps,
        clip_norm=1.0,
    )
    settings = {
        "steps": STEPS, "batch_size": BATCH, "micro_batch_size": 3, "checkpoint_every": SAVE_EVERY,
        "keep_checkpoints": 3, "evaluate_every": 16, "ema_decay": 0.9, "log_every": 1, "tensorboard": False,
        "device": "cpu",
    }  # fmt: skip
    return Recipe(
        model=model,
        phases=(phase,),
        train_data=Noisy(1),
        validation_data=Noisy(2),
        collate=collate,
        blocks=lambda net: ["4"],
        options=TrainOptions(**{**settings, **(options or {})}),
    )


class Digest:
    """A watcher that keeps a checksum of the weights, buffers and the optimizer's state at the end."""

    value = ""

    def __call__(self, model: Any, optimizers: Any) -> Digest:
        self._model, self._optimizers = model, optimizers
        return self

    def __enter__(self) -> Digest:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            return
        import torch

        states = [self._model.state_dict()]
        states += [state for each in self._optimizers for state in each.state_dict()["state"].values()]
        digest = hashlib.sha256()
        for state in states:
            for name, value in sorted(state.items()):
                whole = value.full_tensor() if hasattr(value, "full_tensor") else torch.as_tensor(value)
                digest.update(f"{name}{whole.dtype}{tuple(whole.shape)}".encode())
                digest.update(whole.detach().reshape(-1).view(torch.uint8).numpy().tobytes())
        self.value = digest.hexdigest()


# --- in a rank's process ----------------------------------------------------------------------------------------------


def run_rank(rank: int, ranks: int, port: int, folder: Path, options: Mapping[str, Any] | None) -> None:
    """Be one rank: train, and leave with the code that a command would leave with."""
    os.setpgid(0, 0)
    multiprocessing.set_start_method("fork", force=True)  # for loader workers, as in a program of its own
    log = os.open(folder / f"rank{rank}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if ranks > 1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_WORLD_SIZE=str(ranks))
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    import torch

    from trainworthy.errors import TrainworthyError
    from trainworthy.train.engine import train

    torch.set_num_threads(1)
    faulthandler.dump_traceback_later(_STACKS_AFTER_S, repeat=True)  # where it stood, should it hang
    code, digest = 1, Digest()
    try:
        outcome = train(recipe(options), folder=folder / "run", watchers=(digest,), quiet=True)
        code = outcome.exit_code
        if rank == 0:
            resumed = outcome.resumed_from.name if outcome.resumed_from is not None else None
            ending = {
                "digest": digest.value,
                "resumed": resumed,
                "step": outcome.step,
                "metrics": dict(outcome.metrics),
            }
            (folder / "ending.json").write_text(json.dumps(ending))
    except TrainworthyError as error:
        sys.stderr.write(f"error: {error}\n")
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


# --- in the parent ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Running:
    """The processes of a run."""

    processes: list[ForkServerProcess]
    folder: Path

    def codes(self, limit_s: float) -> list[int | None]:
        """Wait, and return what the ranks left with; None: it had to be ended, because it had not after ``limit_s``."""
        deadline = time.monotonic() + limit_s
        left = list(self.processes)
        while left and (remaining := deadline - time.monotonic()) > 0:
            wait([process.sentinel for process in left], timeout=remaining)
            left = [process for process in left if process.exitcode is None]
        codes = [process.exitcode for process in self.processes]
        self.end()
        return codes

    def wait_for(self, limit_s: float) -> bool:
        """Wait for the end of all, at most so long; say whether they have ended."""
        deadline = time.monotonic() + limit_s
        while any(process.exitcode is None for process in self.processes):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return False
            wait([process.sentinel for process in self.processes if process.exitcode is None], timeout=remaining)
        return True

    def end(self) -> None:
        """Kill what is left."""
        for process in self.processes:
            if process.exitcode is None:
                process.kill()
            process.join()

    def ending(self) -> dict[str, Any] | None:
        """Return what rank 0 said at the end."""
        path = self.folder / "ending.json"
        return dict(json.loads(path.read_text())) if path.exists() else None

    def log(self) -> str:
        """Return what all ranks printed."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("rank*.log")))


def start(variant: Variant, folder: Path) -> Running:
    """Start a run, or start it again, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ending.json").unlink(missing_ok=True)
    for log in folder.glob("rank*.log"):
        log.unlink()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        context.Process(target=run_rank, args=(rank, variant.ranks, port, folder, variant.options))
        for rank in range(variant.ranks)
    ]
    for process in processes:
        process.start()
    return Running(processes, folder)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the run's rows of metrics without what is measured by a clock."""
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.endswith("_s")} for row in rows]
