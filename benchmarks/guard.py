"""What the live guard costs: time of a training step without it, while it looks, and after it has removed itself.

    python benchmarks/guard.py [--repeats N]

Steps of the three kinds are timed in turns, in CPU time of one thread, so that what else the machine does counts
little; medians are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from common import write_result

import trainworthy as tw

Step = Callable[[], None]
LOOK = 20


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


def measure(make: Callable[[], Step], repeats: int) -> dict[str, float]:
    """Return medians in milliseconds."""
    torch.manual_seed(0)
    step = make()
    for _ in range(10):
        step()
    plain, looking, after = [], [], []
    first = 0.0
    for _ in range(repeats):
        plain += [timed(step) for _ in range(LOOK)]
        with tw.guard(steps=LOOK, quiet=True) as guard:
            times = [timed(step) for _ in range(LOOK)]
        first = max(first, times[0])
        looking += times[1:-1]  # the first has the probes, the last the judgement
        assert not guard.findings, guard.findings
        after += [timed(step) for _ in range(LOOK)]
    ms = {k: 1e3 * statistics.median(v) for k, v in {"plain": plain, "looking": looking, "after": after}.items()}
    return {
        "plain_ms": round(ms["plain"], 3), "looking_ms": round(ms["looking"], 3), "after_ms": round(ms["after"], 3),
        "first_step_ms": round(1e3 * first, 1), "looking_ratio": round(ms["looking"] / ms["plain"], 3),
        "after_ratio": round(ms["after"] / ms["plain"], 4),
    }  # fmt: skip


def timed(step: Step) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--only", choices=MODELS, nargs="*", default=list(MODELS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name in options.only:
        results[name] = measure(MODELS[name], options.repeats)
        print(name, results[name], flush=True)
    write_result("guard", models=results)


if __name__ == "__main__":
    main()
