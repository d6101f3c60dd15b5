"""GPT-2 124M in bf16, compiled, on a GPU: the engine against a hand-written loop.

    python -m benchmarks.engine_gpu                                      writes results/engine_gpu.json; 90 s at most
    python -m benchmarks.engine_gpu --device cpu --tiny --dry --no-compile    its logic, without a GPU

One process, one model, compiled once. The two loops take turns, ``--block`` steps each: the engine's run is going on
all the time, and every so many steps the function by which it counts a batch lets the other loop have as many, with the
device idle at each change of hands. A turn is timed as a whole: loading, moving, forward, backward, clipping, the
schedule, the fused AdamW.

The hand-written loop logs the loss every 10 steps and looks at nothing in between. The engine does what it always does:
it counts tokens, divides the sum of the loss by their number, sets the random numbers of the step, refuses a loss or a
gradient that is not finite, measures tokens per second, and writes metrics.jsonl.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.common import write_result
from trainworthy.train import Loss, Phase, Recipe, TrainOptions
from trainworthy.train.engine import train

LIMIT = 1.03
WARM_TURNS = 1  # of each loop, not counted: compilation, the allocator, clocks


@dataclass(frozen=True)
class Size:
    """GPT-2 124M, as nanoGPT trains it: vocabulary padded to a multiple of 64, no dropout."""

    layers: int = 12
    heads: int = 12
    width: int = 768
    length: int = 1024
    words: int = 50304
    batch: int = 16

    def flops_per_step(self, parameters: int) -> float:
        """FLOP of a step, 6 N + 12 L W T a token (Chowdhery et al., PaLM, 2022, appendix B)."""
        return self.batch * self.length * (6.0 * parameters + 12.0 * self.layers * self.width * self.length)


class Block(nn.Module):
    """Attention and MLP, each after a LayerNorm. (B, T, W) -> (B, T, W)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.heads = size.heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.ln_1(x)).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        x = x + self.proj(mixed)
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))  # type: ignore[no-any-return]


class Gpt(nn.Module):
    """Words (B, T) and the words to say (B, T) -> the sum of the loss."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(size.words, size.width), nn.Embedding(size.length, size.width)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.ln = nn.LayerNorm(size.width)
        self.register_buffer("place", torch.arange(size.length), persistent=False)
        for name, each in self.named_parameters():
            if each.dim() == 2:
                nn.init.normal_(
                    each, std=0.02 / (math.sqrt(2 * size.layers) if "proj" in name or "down" in name else 1)
                )

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        h = self.words(x) + self.places(self.place)
        for block in self.blocks:
            h = block(h)
        logits = F.linear(self.ln(h), self.words.weight)
        return F.cross_entropy(logits.flatten(0, 1).float(), y.flatten(), reduction="sum")


class Text(Dataset[Any]):
    """Random words: what they say is of no importance to the time."""

    def __init__(self, size: Size, samples: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.rows = torch.randint(size.words, (samples, size.length + 1), generator=generator)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.rows[index, :-1], self.rows[index, 1:]


def adamw(parameters: Any, *, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=fused)


def factor(step: int) -> float:
    return min(1.0, (step + 1) / 100)


class Bare:
    """The hand-written loop."""

    def __init__(self, model: nn.Module, data: Dataset[Any], size: Size, device: torch.device) -> None:
        self.model, self.device = model, device
        self.optimizer = adamw(model.parameters(), fused=device.type == "cuda")
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)
        sampler = RandomSampler(data, replacement=True, num_samples=10**9)  # type: ignore[arg-type]
        pinned = device.type == "cuda"
        self.loader = iter(DataLoader(data, size.batch, sampler=sampler, pin_memory=pinned))
        self.step = 0
        self.log: list[float] = []

    def take(self, steps: int) -> None:
        for _ in range(steps):
            x, y = (each.to(self.device, non_blocking=True) for each in next(self.loader))
            with torch.autocast(self.device.type, dtype=torch.bfloat16):
                loss = self.model(x, y) / y.numel()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            if self.step % 10 == 0:
                self.log.append(loss.item())


class EnoughError(Exception):
    """The time is over. Raised inside of the engine's run, so that no checkpoint of 1.5 GB is written at its end."""


@dataclass
class Turns:
    """Lets the loops take turns; called once in every step of the engine."""

    bare: Bare
    device: torch.device
    block: int
    until: float
    least: int = 3
    engine_s: list[float] = field(default_factory=list)
    bare_s: list[float] = field(default_factory=list)
    steps: Iterator[int] = field(default_factory=itertools.count)
    began: float = 0.0

    def step(self) -> None:
        number = next(self.steps)
        if number % self.block:
            return
        if number:
            self.engine_s.append(self.now() - self.began)
        counted = len(self.engine_s) - WARM_TURNS
        if counted >= self.least and time.perf_counter() > self.until:
            raise EnoughError
        start = self.now()
        self.bare.take(self.block)
        self.began = self.now()
        self.bare_s.append(self.began - start)

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def measure(size: Size, device: torch.device, *, block: int, compiled: bool, until: float) -> dict[str, Any]:
    """Return the seconds of a step in each loop, and what the engine measured itself."""
    torch.manual_seed(0)
    model = Gpt(size).to(device)
    if compiled:
        model.compile()
    data = Text(size, 64 * size.batch)
    turns = Turns(Bare(model, data, size, device), device, block, until)

    def count(batch: Any) -> int:
        turns.step()  # here, outside of the engine's autocast, whose cache of weights the other loop must not see
        return int(batch[1].numel())

    phase = Phase(
        loss=lambda net, batch: Loss(total=net(*batch)),
        optimizer=lambda named: adamw([each for _, each in named], fused=device.type == "cuda"),
        schedule=lambda step, _steps: factor(step),
        clip_norm=1.0,
    )
    recipe = Recipe(
        model=lambda: model, phases=(phase,), train_data=data, count=count,
        options=TrainOptions(
            steps=10**6, batch_size=size.batch, precision="bf16", device=str(device), tensorboard=False,
            checkpoint_every=0,
        ),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(EnoughError):
        train(recipe, folder=Path(folder), quiet=True)
    num = min(len(turns.engine_s), len(turns.bare_s))
    engine, bare = turns.engine_s[WARM_TURNS:num], turns.bare_s[WARM_TURNS:num]
    parameters = sum(each.numel() for each in model.parameters())
    return {
        "parameters": parameters,
        "turns": len(engine),
        "engine_step_s": statistics.median(engine) / block,
        "bare_step_s": statistics.median(bare) / block,
        "ratio": statistics.median(mine / theirs for mine, theirs in zip(engine, bare, strict=True)),
        "engine_turns_s": engine,
        "bare_turns_s": bare,
        "tokens_per_s": size.batch * size.length * block / statistics.median(engine),
        "flops_per_s": size.flops_per_step(parameters) * block / statistics.median(engine),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=75.0, help="after these no turn begins")
    parser.add_argument("--block", type=int, default=20, help="steps of a turn")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a network that a CPU trains in no time")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--dry", action="store_true", help="write no result")
    arguments = parser.parse_args()
    until = time.perf_counter() + arguments.seconds
    device = torch.device(arguments.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(f"torch {torch.__version__} sees no CUDA device", file=sys.stderr)
        return 2
    torch.set_float32_matmul_precision("high")
    size = Size(layers=2, heads=2, width=32, length=32, words=128, batch=4) if arguments.tiny else Size()
    found = measure(size, device, block=arguments.block, compiled=not arguments.no_compile, until=until)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    met = found["ratio"] <= LIMIT
    print(
        f"{name}: engine {found['engine_step_s'] * 1e3:.2f} ms/step, bare {found['bare_step_s'] * 1e3:.2f} ms/step, "
        f"ratio {found['ratio']:.4f} over {found['turns']} turns (limit {LIMIT}: {'met' if met else 'NOT met'}), "
        f"{found['tokens_per_s']:.0f} tokens/s, {found['flops_per_s'] / 1e12:.0f} TFLOP/s"
    )
    if not arguments.dry:
        facts = {"gpu": name, "cuda": torch.version.cuda, "limit": LIMIT, "limit_met": met, "block": arguments.block}
        write_result("engine_gpu", **facts, **found)
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
