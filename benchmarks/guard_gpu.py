"""What the live guard costs on a GPU: while it looks, how often it waits for the device, and what it leaves behind.

    python -m benchmarks.guard_gpu                       writes results/guard_gpu.json; needs a CUDA device, about 90 s
    python -m benchmarks.guard_gpu --device cpu --tiny   its logic, without a GPU; writes nothing

Three loops: an MLP so small that the host is all of its time, ResNet-50 on 64 pictures and GPT-2 124M on 8 texts of
1,024 tokens, both under bfloat16 autocast with a fused optimizer. A block of steps is timed as a whole, with the device
idle before and after; blocks with and without the guard take turns, and medians are compared. Of the guarded block, the
first step (with the probes) and the last (with the judgement) are given apart. *Waits* are those of torch's
synchronisation debug mode in a guarded step less those in a bare one. *Afterwards*: blocks after every guard has
removed itself against blocks before there was any.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import trainworthy as tw
from benchmarks.common import write_result
from benchmarks.engine_gpu import Gpt, Size

Step = Callable[[], None]
LOOK = 20
WARM_UP = 10


def mlp(device: torch.device, *, tiny: bool) -> Step:
    """784-256-128-10, batch 64, Adam."""
    del tiny
    model = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        x, y = torch.randn(64, 784, device=device), torch.randint(10, (64,), device=device)
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def resnet50(device: torch.device, *, tiny: bool) -> Step:
    """ResNet-50, 64 pictures of 224 by 224, bfloat16 autocast, SGD."""
    torchvision = importlib.import_module("torchvision")

    batch, side = (2, 64) if tiny else (64, 224)
    model = torchvision.models.resnet50().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=device.type == "cuda")

    def step() -> None:
        x, y = torch.randn(batch, 3, side, side, device=device), torch.randint(1000, (batch,), device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def gpt2(device: torch.device, *, tiny: bool) -> Step:
    """GPT-2 124M, 8 texts of 1,024 tokens, bfloat16 autocast, fused AdamW, gradients clipped."""
    size = Size(layers=2, heads=2, width=64, length=32, words=128, batch=4) if tiny else Size(batch=8)
    model = Gpt(size).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, fused=device.type == "cuda")

    def step() -> None:
        words = torch.randint(size.words, (size.batch, size.length + 1), device=device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss = model(words[:, :-1], words[:, 1:]) / (size.batch * size.length)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


MODELS = {"mlp": mlp, "resnet50": resnet50, "gpt2": gpt2}


def measure(step: Step, device: torch.device, repeats: int) -> dict[str, Any]:
    """Return medians in milliseconds, their ratios, and the waits of a step."""
    _block(step, device, WARM_UP)
    before, plain, seen, firsts, lasts = [], [], [], [], []
    before += [_block(step, device, LOOK) / LOOK for _ in range(repeats)]
    for _ in range(repeats):
        plain.append(_block(step, device, LOOK) / LOOK)
        with tw.guard(steps=LOOK, quiet=True) as guard:
            firsts.append(_block(step, device, 1))
            seen.append(_block(step, device, LOOK - 2) / (LOOK - 2))
            lasts.append(_block(step, device, 1))
        assert not guard.findings, guard.findings
        assert not guard.left_out, guard.left_out
    after = [_block(step, device, LOOK) / LOOK for _ in range(repeats)]
    bare_waits = _waits(step, device)
    with tw.guard(steps=LOOK, quiet=True):
        step()
        waits = _waits(step, device)
    base, look = statistics.median(plain), statistics.median(seen)
    return {
        "plain_ms": _ms(base),
        "looking_ms": _ms(look),
        "looking_ratio": round(look / base, 3),
        "first_step_ms": _ms(statistics.median(firsts)),
        "last_step_ms": _ms(statistics.median(lasts)),
        "waits_per_step": waits - bare_waits,
        "after_percent": round(100 * (statistics.median(after) / statistics.median(before) - 1), 2),
    }


def _block(step: Step, device: torch.device, steps: int) -> float:
    """Return the seconds of some steps, with the device idle before and after."""
    _idle(device)
    started = time.perf_counter()
    for _ in range(steps):
        step()
    _idle(device)
    return time.perf_counter() - started


def _waits(step: Step, device: torch.device) -> float:
    """Return how often torch says that the host waits for the device in a step, on the mean of eight."""
    if device.type != "cuda":
        return 0.0
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        for _ in range(8):
            step()
        torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing" in str(one.message) for one in said) / 8


def _idle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def _ms(seconds: float) -> float:
    return round(1e3 * seconds, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--only", nargs="*", choices=MODELS, default=list(MODELS))
    options = parser.parse_args()
    device = torch.device(options.device)
    found = {}
    for name in options.only:
        torch.manual_seed(0)
        found[name] = measure(MODELS[name](device, tiny=options.tiny), device, options.repeats)
        print(name, found[name], flush=True)
    if device.type == "cuda" and not options.tiny:
        write_result("guard_gpu", device=torch.cuda.get_device_name(0), models=found)


if __name__ == "__main__":
    main()
