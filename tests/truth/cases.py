"""The same two training steps run live, virtually and under the profiler."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace

import torch

from trainworthy.tape.record import Tape
from trainworthy.tape.recorder import Recorder
from trainworthy.virtual.gpu import VirtualGpu
from zoo.small import CASES, train_step

STEPS = 2


def training(name: str, device: str = "cpu") -> Callable[[], None]:
    """Return a function that builds a case and trains it."""

    def run() -> None:
        torch.manual_seed(0)
        case = CASES[name](device)
        optimizer = case.make_optimizer(case.model.parameters())
        for _ in range(STEPS):
            train_step(case, optimizer)

    return run


def live_tape(run: Callable[[], None]) -> Tape:
    """Record a real run on the CPU."""
    gc.collect()
    with Recorder() as recorder:
        run()
    return recorder.tape(device="cpu", granularity_bytes=1)


def virtual_tape(run: Callable[[], None], *, imitate_cpu: bool) -> Tape:
    """Rehearse a run."""
    gc.collect()
    with VirtualGpu(imitate_cpu=imitate_cpu) as gpu:
        run()
    return gpu.tape()


def without_workspace(tape: Tape) -> Tape:
    """Return the tape with the private notes of recurrent kernels taken out."""
    classes = tuple(c._replace(size_bytes=0) if c.kind == "workspace" else c for c in tape.classes)
    return replace(tape, classes=classes)
