"""What the live guard costs: while it looks, on one process and on two ranks, and after it has removed itself.

    python benchmarks/guard.py [--repeats N] [--pairs N] [--parts looking after ranks]

*Looking*: steps with and without a guard are timed in turns in one process, in CPU time of one thread, so that what
else the machine does counts little; medians are compared. The first step, which has the probes, and the last, which has
the judgement, are given apart.

*After*: many fresh processes, in pairs that take turns, a few milliseconds each, so that whatever else the machine does
falls on both alike. How the CPU times of the two relate is measured (the median over all turns), then one of them has a
guard for a window while the other does the same steps without, and it is measured again. The change is what the guard
left behind. The mean over the pairs is given with its 95 % interval, from resampling the pairs.

*Ranks*: two processes that train under DistributedDataParallel (gloo), blocks with and without the guard in turns, wall
time, medians of rank 0.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import math
import multiprocessing
import os
import random
import socket
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import read_result, write_result

import trainworthy as tw

Step = Callable[[], None]
LOOK = 20
WARM_UP = 10
BURST_S = 0.01  # of steps in one turn of a process
ALLOCATED_BYTES = 28 << 20
ROUNDS = 80  # turns of each process, before and after
RESAMPLES = 4000
PARTS = ("looking", "after", "ranks")


class Block(nn.Module):
    """A transformer block as nanoGPT writes it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.first, self.second = heads, nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend, then transform."""
        batch, length, width = x.shape
        q, k, v = (
            t.view(batch, length, self.heads, -1).transpose(1, 2) for t in self.attention(self.first(x)).split(width, 2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.second(x))))


def mlp() -> Step:
    """784-256-128-10, batch 64, Adam: so small that Python is most of it."""
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))
    return classify(model, torch.randn(64, 784), 10)


def cnn() -> Step:
    """Four convolutions with BatchNorm on 32 pictures of 32 by 32."""
    layers: list[nn.Module] = []
    for i, o in ((3, 32), (32, 64), (64, 64), (64, 128)):
        layers += [nn.Conv2d(i, o, 3, padding=1, stride=1 + (o > 32)), nn.BatchNorm2d(o), nn.ReLU()]
    return classify(nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(10)), torch.randn(32, 3, 32, 32), 10)


def classify(model: nn.Module, x: torch.Tensor, classes: int) -> Step:
    model(x)
    optimizer = torch.optim.Adam(model.parameters())
    y = torch.randint(classes, (len(x),))

    def step() -> None:
        loss = F.cross_entropy(model(x + torch.randn(())), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def gpt() -> Step:
    """Four blocks of width 256, 8 texts of 128 tokens, vocabulary 1,000."""
    model = nn.Sequential(nn.Embedding(1000, 256), *(Block(256, 4) for _ in range(4)), nn.Linear(256, 1000))
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        ids = torch.randint(1000, (8, 129))
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


MODELS = {"mlp": mlp, "cnn": cnn, "gpt": gpt}
# Layers and samples of each rank: as small as the MLP above, and of a size that is worth two ranks.
RANKED = {"mlp": ((784, 256, 128, 10), 64), "large_mlp": ((784, 1024, 1024, 10), 128)}


# --- while it looks -------------------------------------------------------------------------------


def looking(make: Callable[[], Step], repeats: int) -> dict[str, float]:
    """Return medians in milliseconds, and their ratio."""
    torch.manual_seed(0)
    step = make()
    for _ in range(WARM_UP):
        step()
    plain, seen, firsts = [], [], []
    for _ in range(repeats):
        plain += [timed(step) for _ in range(LOOK)]
        with tw.guard(steps=LOOK, quiet=True) as guard:
            times = [timed(step) for _ in range(LOOK)]
        firsts.append(times[0])
        seen += times[1:-1]
        assert not guard.findings, guard.findings
        assert not guard.left_out, guard.left_out
    base, look = statistics.median(plain), statistics.median(seen)
    return {
        "plain_ms": round(1e3 * base, 3), "looking_ms": round(1e3 * look, 3),
        "first_step_ms": round(1e3 * statistics.median(firsts), 1), "looking_ratio": round(look / base, 3),
    }  # fmt: skip


def timed(step: Step, clock: Callable[[], float] = time.process_time) -> float:
    started = clock()
    step()
    return clock() - started


# --- afterwards -----------------------------------------------------------------------------------


def afterwards(name: str, pairs: int) -> dict[str, Any]:
    """Return by how much a step is slower after a look than without one, with its interval."""
    differences = []
    for _ in range(pairs):
        guarded, plain = Turns(name), Turns(name)
        before = relation(guarded, plain)
        guarded.ask("guarded window")
        plain.ask("window")
        differences.append(relation(guarded, plain) - before)
        guarded.ask("end")
        plain.ask("end")
    draw = random.Random(0)
    means = sorted(statistics.mean(draw.choices(differences, k=pairs)) for _ in range(RESAMPLES))
    low, high = means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]
    percent = [round(100 * math.expm1(v), 2) for v in (statistics.mean(differences), low, high)]
    return {"pairs": pairs, "slower_percent": percent[0], "interval_95_percent": percent[1:]}


def relation(one: Turns, other: Turns) -> float:
    """Return the logarithm of how the times of two processes relate."""
    logs = []
    for number in range(ROUNDS):
        order = (one, other) if number % 2 else (other, one)
        seconds = {process: process.ask("steps") for process in order}
        logs.append(math.log(seconds[one] / seconds[other]))
    return statistics.median(logs)


class Turns:
    """A fresh process that trains when it is asked to."""

    def __init__(self, name: str) -> None:
        context = multiprocessing.get_context("fork")  # torch is imported, and has computed nothing yet
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(name, theirs))
        self._process.start()

    def ask(self, what: str) -> float:
        """Return the CPU seconds that it took."""
        self._pipe.send(what)
        seconds = float(self._pipe.recv())
        if what == "end":
            self._process.join()
        return seconds


def serve(name: str, pipe: Any) -> None:
    """Train as asked, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # The allocator keeps memory of sizes that were freed once; whoever frees a large block first is faster afterwards.
    torch.ones(ALLOCATED_BYTES // 4)
    step = MODELS[name]()
    burst = max(1, round(BURST_S / statistics.median(timed(step) for _ in range(WARM_UP))))
    gc.collect()
    while (what := pipe.recv()) != "end":
        started = time.process_time()
        if what == "guarded window":
            with tw.guard(steps=LOOK, quiet=True) as guard:
                for _ in range(LOOK):
                    step()
            assert guard.facts.num_steps == LOOK
        for _ in range({"steps": burst, "window": LOOK}.get(what, 0)):
            step()
        pipe.send(time.process_time() - started)
        if what != "steps":
            gc.collect()
    pipe.send(0.0)


# --- two ranks ------------------------------------------------------------------------------------


def ranked(name: str, repeats: int) -> dict[str, float]:
    """Return medians of rank 0 in milliseconds, and their ratio."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    processes = [context.Process(target=train_rank, args=(r, port, name, repeats, theirs)) for r in range(2)]
    for process in processes:
        process.start()
    found: dict[str, float] = ours.recv()
    for process in processes:
        process.join()
    return found


def train_rank(rank: int, port: int, name: str, repeats: int, answer: Any) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE="2")
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    sizes, batch = RANKED[name]
    layers = [part for i, o in itertools.pairwise(sizes) for part in (nn.Linear(i, o), nn.ReLU())]
    model = DistributedDataParallel(nn.Sequential(*layers[:-1]))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    torch.manual_seed(rank)

    def step() -> None:
        loss = F.cross_entropy(model(torch.randn(batch, sizes[0])), torch.randint(sizes[-1], (batch,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for _ in range(WARM_UP):
        step()
    plain, seen = [], []
    for _ in range(repeats):
        dist.barrier()
        plain += [timed(step, time.perf_counter) for _ in range(LOOK)]
        dist.barrier()
        with tw.guard(steps=LOOK, quiet=True) as guard:
            times = [timed(step, time.perf_counter) for _ in range(LOOK)]
        seen += times[1:-1]
        assert not guard.findings, guard.findings
        assert not guard.left_out, guard.left_out
    if rank == 0:
        base, look = statistics.median(plain), statistics.median(seen)
        means = statistics.mean(seen) / statistics.mean(plain)
        answer.send({"plain_ms": round(1e3 * base, 3), "looking_ms": round(1e3 * look, 3),
                     "looking_ratio": round(look / base, 3), "looking_ratio_of_means": round(means, 3)})  # fmt: skip
    dist.barrier()
    os._exit(0)  # groups that are torn down at once can deadlock with gloo's thread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=40, help="of processes, for what is left afterwards")
    parser.add_argument("--only", choices=MODELS, nargs="*", default=list(MODELS))
    parser.add_argument(
        "--parts", choices=("looking", "after", "ranks"), nargs="*", default=["looking", "after", "ranks"]
    )
    options = parser.parse_args()
    known = read_result("guard") or {}
    found: dict[str, dict[str, Any]] = {part: dict(known.get(part, {})) for part in PARTS}

    def keep(part: str, name: str, result: dict[str, Any]) -> None:
        found[part][name] = result
        print(part, name, result, flush=True)

    for name in options.only if "after" in options.parts else ():  # first: processes are forked from this one
        keep("after", name, afterwards(name, options.pairs))
    for name in RANKED if "ranks" in options.parts else ():
        keep("ranks", name, ranked(name, options.repeats))
    torch.set_num_threads(1)
    for name in options.only if "looking" in options.parts else ():
        keep("looking", name, looking(MODELS[name], options.repeats))
    write_result("guard", **found)


if __name__ == "__main__":
    main()
