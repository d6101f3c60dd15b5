"""What a step costs beside its mathematics, in the engine and in its peers.

``python -m benchmarks.engine_overhead`` writes ``results/engine_overhead.json``; ``--rounds 3`` is a quick look.

Everyone trains the same tiny network (32-64-10, 32 samples a step, SGD) on the same ready batches, in one process, in
interleaved rounds of shuffled order. ``bare`` is the barest loop there is. All others do the same work besides:
gradients clipped to a norm, a schedule of the learning rate, the loss as a sum over the items that count divided by
their number, a stop when loss or gradient is not finite, and loss, gradient norm and learning rate logged every 50
steps to a file.

The clock is read inside the network's forward pass, so set-up and end do not count. It is the processor time of the
process, which other work on the machine disturbs little. ``extra`` is the median over rounds of the difference to
``bare`` in the same round, and ``ratio`` that of the quotient to ``bare_same``.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import logging
import math
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from benchmarks.common import environment, write_result

WARM, BATCH, D_IN, D_HIDDEN, D_OUT, IGNORED, LOG_EVERY = 200, 32, 32, 64, 10, -100, 50
LIMITS = {"extra_us": 100.0, "ratio_to_bare_same": 1.1, "import_seconds_beyond_torch": 0.15}

Engine = Callable[["Job"], None]
ENGINES: dict[str, Engine] = {}


def engine(name: str) -> Callable[[Engine], Engine]:
    """Register a function that trains a job to its last step."""

    def register(function: Engine) -> Engine:
        ENGINES[name] = function
        return function

    return register


class Net(nn.Module):
    """The network; looks at the clocks in the forward passes number WARM and ``stop``."""

    def __init__(self, stop: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(D_IN, D_HIDDEN), nn.Linear(D_HIDDEN, D_OUT)
        self.clocks: dict[str, int] = {"calls": 0, "stop": stop}

    def forward(self, x: Tensor) -> Tensor:
        """(B, 32) -> (B, 10)."""
        clocks = self.clocks
        clocks["calls"] = calls = clocks["calls"] + 1
        if calls == WARM:
            clocks["begin"] = time.process_time_ns()
        elif calls == clocks["stop"]:
            clocks["end"] = time.process_time_ns()
        return self.second(torch.relu(self.first(x)))  # type: ignore[no-any-return]


class Batches(Dataset[Any]):
    """Ready batches, 64 of them again and again, so that loading costs next to nothing."""

    def __init__(self, steps: int, *, as_dict: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = [torch.randn(BATCH, D_IN, generator=generator) for _ in range(64)]
        self.y = [torch.randint(D_OUT, (BATCH,), generator=generator) for _ in range(64)]
        for y in self.y:
            y[:3] = IGNORED
        self.steps, self.as_dict = steps, as_dict

    def __len__(self) -> int:
        """One item is one step's batch."""
        return self.steps

    def __getitem__(self, index: int) -> Any:
        x, y = self.x[index % 64], self.y[index % 64]
        return {"x": x, "labels": y} if self.as_dict else (x, y)


class Job:
    """One run of one engine: ``model()``, ``optimizer()``, ``loader()``, a folder."""

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.folder = Path(tempfile.mkdtemp(prefix="overhead-"))
        torch.manual_seed(0)
        self.net = Net(steps)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=1e-2)

    def loader(self, *, as_dict: bool = False) -> DataLoader[Any]:
        return DataLoader(Batches(self.steps, as_dict=as_dict), batch_size=None)

    def factor(self, step: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * step / self.steps))


def items(batch: Any) -> int:
    """Count what the loss counts."""
    return int((batch[1] != IGNORED).sum())


def loss_sum(model: nn.Module, batch: Any) -> Tensor:
    """Return the sum of the loss over the items that count."""
    x, y = batch
    return F.cross_entropy(model(x), y, reduction="sum", ignore_index=IGNORED)


@engine("bare")
def bare(job: Job) -> None:
    model = job.net
    optimizer = job.optimizer(model)
    for x, y in job.loader():
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()


@engine("bare_same")
def bare_same(job: Job) -> None:
    """What a practitioner writes by hand for the same work."""
    model = job.net
    optimizer = job.optimizer(model)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, job.factor)
    total_loss = total_items = step = 0
    with (job.folder / "metrics.jsonl").open("w") as log:
        for micro_batches in ([batch] for batch in job.loader()):
            weight = sum(items(batch) for batch in micro_batches)
            for batch in micro_batches:
                loss = loss_sum(model, batch) / weight
                loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if not math.isfinite(loss.item()) or not math.isfinite(norm.item()):
                raise FloatingPointError(step)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
            step += 1
            total_loss, total_items = total_loss + loss.item() * weight, total_items + weight
            if step % LOG_EVERY == 0:
                row = {"step": step, "loss": total_loss / total_items, "norm": norm.item()}
                log.write(json.dumps({**row, "lr": scheduler.get_last_lr()[0]}) + "\n")
                log.flush()
                total_loss = total_items = 0


@engine("trainworthy")
def trainworthy(job: Job) -> None:
    from trainworthy.train import Loss, Phase, Recipe, TrainOptions
    from trainworthy.train.engine import train

    phase = Phase(
        loss=lambda model, batch: Loss(total=loss_sum(model, batch)),
        optimizer=lambda named: torch.optim.SGD([each for _, each in named], lr=1e-2),
        schedule=lambda step, _steps: job.factor(step),
        clip_norm=1.0,
    )
    recipe = Recipe(
        model=lambda: job.net,
        phases=(phase,),
        train_data=Batches(job.steps),
        collate=lambda samples: samples[0],
        count=items,
        options=TrainOptions(batch_size=1, log_every=LOG_EVERY, tensorboard=False, checkpoint_every=0),
    )
    train(recipe, folder=job.folder)


def measure(name: str, steps: int) -> float:
    """Return the microseconds of processor time of a step."""
    job = Job(steps)
    gc.collect()  # the collector stays on: what an engine leaves behind is part of its cost
    sink = io.StringIO()
    try:
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            ENGINES[name](job)
    finally:
        shutil.rmtree(job.folder, ignore_errors=True)
    clocks = job.net.clocks
    if "end" not in clocks:
        raise RuntimeError(f"{name} made {clocks['calls']} forward passes of {steps}")
    return (clocks["end"] - clocks["begin"]) / (steps - WARM) / 1000


def compare(names: list[str], *, rounds: int, steps: int) -> dict[str, Any]:
    """Return the figures of each engine, over interleaved rounds."""
    samples: dict[str, list[float]] = {name: [] for name in names}
    for name in names:  # imports and first uses
        measure(name, WARM + 50)
    shuffled = random.Random(0)
    for number in range(rounds):
        for name in shuffled.sample(names, len(names)):
            samples[name].append(measure(name, steps))
        print(f"round {number + 1}/{rounds}", end="\r", file=sys.stderr, flush=True)
    found = {}
    for name, own in samples.items():
        extras = [mine - bare for mine, bare in zip(own, samples["bare"], strict=True)]
        ratios = [mine / same for mine, same in zip(own, samples["bare_same"], strict=True)]
        found[name] = {
            "us_per_step": statistics.median(own),
            "extra_us": statistics.median(extras),
            "extra_us_quartiles": statistics.quantiles(extras, n=4)[::2] if rounds > 1 else None,
            "ratio_to_bare_same": statistics.median(ratios),
        }
    return found


def import_seconds(repeats: int) -> dict[str, float]:
    """Return the processor time of importing in a new process, median, by what is imported."""
    programs = {
        "torch": "import torch",
        "torch_and_engine": "import torch, trainworthy.train.engine",
    }
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", program], check=True, env=environment())
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times[name].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--only", default="", help="engines, separated by commas; bare and bare_same are always run")
    parser.add_argument("--dry", action="store_true", help="write no result")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    from benchmarks import engine_overhead_peers

    peers = engine_overhead_peers.load()
    wanted = arguments.only.split(",") if arguments.only else [*ENGINES]
    names = ["bare", "bare_same", *(name for name in ENGINES if name in wanted and not name.startswith("bare"))]
    engines = compare(names, rounds=arguments.rounds, steps=arguments.steps)
    imports = import_seconds(max(3, arguments.rounds // 2))
    print(f"{'engine':24}{'us/step':>9}{'extra us':>10}{'/ bare_same':>13}")
    for name, row in engines.items():
        print(f"{name:24}{row['us_per_step']:9.1f}{row['extra_us']:10.1f}{row['ratio_to_bare_same']:13.2f}")
    beyond = imports["torch_and_engine"] - imports["torch"]
    print(f"importing the engine takes {beyond:.3f} s beyond torch ({imports['torch']:.2f} s)")
    own = engines.get("trainworthy")
    met = own is not None and (
        own["extra_us"] <= LIMITS["extra_us"]
        and own["ratio_to_bare_same"] <= LIMITS["ratio_to_bare_same"]
        and beyond <= LIMITS["import_seconds_beyond_torch"]
        and all(own["us_per_step"] < row["us_per_step"] for name, row in engines.items() if name in peers)
    )
    print(f"limits {'met' if met else 'NOT met'}: {LIMITS}, and below all peers")
    if not arguments.dry:
        write_result(
            "engine_overhead", steps=arguments.steps, rounds=arguments.rounds, engines=engines,
            import_seconds=imports, limits=LIMITS, limits_met=met, peers=peers,
        )  # fmt: skip
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
