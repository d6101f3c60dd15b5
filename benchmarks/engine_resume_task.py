"""What every engine trains in ``engine_resume``: the model, the data, and notes of what happened."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

EVERY, KILL, BATCH, STEPS, EPOCHS, LIMIT_S = 10, 57, 32, 40, 3, 120  # steps: of an epoch
PEERS: dict[str, Callable[[], None]] = {}


class Run:
    """What this process was told."""

    case: str
    folder: Path
    mode: str
    log: Any

    @property
    def workers(self) -> int:
        return 2 if self.case == "D" else 0

    @property
    def augments(self) -> bool:
        return self.case in "CD"

    @property
    def dropout(self) -> float:
        return 0.0 if self.case == "A" else 0.1

    @property
    def resumes(self) -> bool:
        return self.mode == "resume"


RUN = Run()


class Data(Dataset[Any]):
    """16 numbers a sample, with noise in the cases C and D."""

    def __init__(self, as_dict: bool = False) -> None:
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(BATCH * STEPS, 16, generator=generator)
        self.y = torch.randint(4, (BATCH * STEPS,), generator=generator)
        self.as_dict = as_dict

    def __len__(self) -> int:
        return BATCH * STEPS

    def __getitem__(self, index: int) -> Any:
        x = self.x[index] + 0.1 * torch.randn(16) if RUN.augments else self.x[index]
        return {"x": x, "labels": self.y[index], "idx": index} if self.as_dict else (x, self.y[index], index)


class Net(nn.Module):
    """A small MLP; called with labels, it is one of Hugging Face's."""

    trainer_step: Callable[[Any], int]

    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(RUN.dropout), nn.Linear(32, 4))

    def forward(self, x: Any, labels: Any = None, idx: Any = None) -> Any:
        if labels is None:
            return self.f(x)
        note(self.trainer_step(), idx)
        out = self.f(x)
        return {"loss": F.cross_entropy(out, labels), "logits": out}


def note(step: int, indices: Any) -> None:
    """Write down the samples of a step; ``step`` is the number of optimizer steps done before it."""
    order = hashlib.sha256(str([int(index) for index in indices]).encode()).hexdigest()[:16]
    RUN.log.write(json.dumps([int(step), order]) + "\n")
    if RUN.mode == "kill" and step == KILL:
        os.kill(os.getpid(), signal.SIGKILL)


def finish(model: nn.Module) -> None:
    digest = hashlib.sha256()
    for parameter in model.parameters():
        digest.update(parameter.detach().numpy().tobytes())
    (RUN.folder / "final").write_text(digest.hexdigest()[:16])


def seed() -> None:
    random.seed(0), np.random.seed(0), torch.manual_seed(0)


def make() -> tuple[Any, Any, Any]:
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    return model, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS * EPOCHS)


def newest(pattern: str) -> Path:
    return max(RUN.folder.glob(pattern), key=lambda path: int(re.findall(r"(\d+)", path.name)[-1]))


def peer(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        PEERS[name] = function
        return function

    return register


def hand_step(model: Any, optimizer: Any, schedule: Any, x: Any, y: Any) -> None:
    F.cross_entropy(model(x), y).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step(), schedule.step(), optimizer.zero_grad()


def save_by_hand(step: int, **parts: Any) -> None:
    if step % EVERY == 0:
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save({**states, "step": step, "rng": torch.get_rng_state()}, RUN.folder / f"ck-{step}.pt")
    if step == STEPS * EPOCHS:
        finish(parts["m"])
