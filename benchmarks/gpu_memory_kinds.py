"""What a card shows beside tensors: context and libraries, what the allocator keeps, workspaces of convolutions.

    python -m benchmarks.gpu_memory_kinds FILE.json [PROBE ...]    needs a CUDA device; under a minute

Every probe stands alone: one that fails leaves its message, and the others go on.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

LIMIT_S = 45.0  # no probe starts later than this

# Models of profile_models.py, the batch, the variants, and whether they have convolutions to search algorithms for.
MODELS: tuple[tuple[str, int, tuple[str, ...], bool], ...] = (
    ("transformerxl_base", 4, ("fp32", "amp"), False),
    ("waveglow", 4, ("fp32", "amp"), True),
    ("ssd300", 16, ("fp32", "amp"), True),
    ("resnet50", 64, ("fp32", "amp"), True),
    ("gnmt", 32, ("fp32", "amp"), False),
    ("ncf", 1 << 19, ("fp32", "amp"), False),
    ("bert_base_squad", 16, ("fp32",), False),
)
# Convolutions over time (WaveGlow, Tacotron 2, Jasper): batch, channels in, out, length, kernel, dilation.
SERIES = (
    (10, 512, 1024, 1000, 3, 1), (10, 512, 1024, 1000, 3, 8), (10, 512, 1024, 1000, 3, 128),
    (10, 640, 1024, 1000, 1, 1), (10, 512, 1024, 1000, 1, 1), (10, 4, 512, 1000, 1, 1), (10, 8, 8, 1000, 1, 1),
    (48, 512, 512, 870, 5, 1), (48, 80, 512, 870, 5, 1), (16, 256, 256, 768, 11, 1),
)  # fmt: skip
# The same over images: batch, channels in, out, side, kernel, stride.
IMAGES = (
    (64, 64, 64, 56, 3, 1), (64, 128, 128, 28, 3, 1), (64, 256, 256, 14, 3, 1), (64, 512, 512, 7, 3, 1),
    (64, 128, 128, 56, 3, 2), (64, 256, 512, 56, 1, 2), (64, 3, 64, 224, 7, 2), (32, 256, 256, 38, 3, 1),
    (32, 1024, 324, 38, 3, 1),
)  # fmt: skip


def main() -> int:
    """Ask, print progress, and write what was answered after every probe."""
    try:
        import torch
    except ImportError:
        print("skipped: torch is not installed")
        return 0
    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA device")
        return 0
    path, start = Path(sys.argv[1]), time.perf_counter()
    answer: dict[str, Any] = {
        "device": torch.cuda.get_device_name(0), "torch": torch.__version__, "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }  # fmt: skip
    for name, ask in probes():
        if sys.argv[2:] and not name.startswith(tuple(sys.argv[2:])):
            continue
        if time.perf_counter() - start > LIMIT_S:
            answer.setdefault("left_out", []).append(name)
            continue
        try:
            answer[name] = ask()
        except Exception as error:
            answer[name] = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        path.write_text(json.dumps(answer), encoding="utf-8")
        print(f"{time.perf_counter() - start:6.1f} s  {name}: {str(answer[name])[:110]}", flush=True)
    return 0


def probes() -> Iterator[tuple[str, Callable[[], Any]]]:
    """List the probes, what matters most first."""
    yield "outside", outside
    yield "cells", cells
    yield "recurrent layers", recurrent_layers
    for name, batch, variants, searched in MODELS:
        for variant, search in product(variants, (False, True) if searched else (False,)):
            label = f"{name} {batch} {variant}{' search' if search else ''}"
            yield label, partial(training, name, batch, amp=variant == "amp", search=search)
    yield "wide softmax", wide_softmax
    yield "convolutions", convolutions
    yield "last batch", last_batch


def _shown() -> dict[str, int]:
    import torch

    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return {
        "used": total - free, "reserved": torch.cuda.memory_reserved(), "allocated": torch.cuda.memory_allocated(),
        "peak_allocated": torch.cuda.max_memory_allocated(), "peak_reserved": torch.cuda.max_memory_reserved(),
    }  # fmt: skip


def _clear(*, search: bool = False) -> None:
    import gc

    import torch

    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    torch.backends.cudnn.benchmark = search


def outside() -> list[dict[str, Any]]:
    """Note what the driver has given after each library's first use: used less reserved is outside the allocator."""
    import torch
    from torch import nn

    device = "cuda"
    x = torch.zeros(1, device=device)
    found: list[dict[str, Any]] = [{"after": "context", **_shown()}]
    layers: dict[str, Callable[[], Any]] = {
        "elementwise": lambda: torch.randn(1 << 20, device=device).add_(1).sum(),
        "float32 product": lambda: torch.randn(512, 512, device=device) @ torch.randn(512, 512, device=device),
        "bfloat16 product": lambda: (
            torch.ones(512, 512, device=device, dtype=torch.bfloat16).pow(1)
            @ torch.ones(512, 512, device=device, dtype=torch.bfloat16)
        ),
        "convolution": lambda: nn.Conv2d(64, 64, 3, device=device)(torch.randn(8, 64, 56, 56, device=device)),
        "convolution backward": lambda: (
            nn.Conv2d(64, 64, 3, device=device)(torch.randn(8, 64, 56, 56, device=device)).sum().backward()
        ),
        "batch norm": lambda: nn.BatchNorm2d(64, device=device)(torch.randn(8, 64, 56, 56, device=device)),
        "LSTM": lambda: nn.LSTM(256, 256, device=device)(torch.randn(32, 8, 256, device=device))[0].sum().backward(),
        "attention": lambda: nn.functional.scaled_dot_product_attention(*_heads()),
        "sort": lambda: torch.randn(1 << 20, device=device).sort(),
    }
    for name, call in layers.items():
        call()
        found.append({"after": name, **_shown()})
    del x
    _clear()
    found.append({"after": "cache emptied", **_shown()})
    return found


def _heads() -> Any:
    import torch

    return (torch.ones(2, 4, 256, 64, device="cuda", dtype=torch.float16),) * 3


def training(name: str, batch: int, *, amp: bool, search: bool, steps: int = 4) -> list[dict[str, int]]:
    """Train a model of profile_models.py for a few steps, gradients set to zero and kept, and note each step."""
    import torch

    from benchmarks.profile_models import MODELS as KNOWN

    _clear(search=search)
    model = KNOWN[name]
    sequence = 384 if model.has_sequence else 1
    module = model.build().to("cuda").train()
    optimizer = model.optimizer(module.parameters()) if model.optimizer else None
    scaler = torch.amp.GradScaler("cuda", enabled=amp)
    found = [_shown()]
    for _ in range(steps):
        inputs = (model.longest or model.inputs)(batch, sequence)
        with torch.autocast("cuda", dtype=torch.float16, enabled=amp):
            loss = model.loss(module, *inputs)
        scaler.scale(loss).backward()
        if optimizer:
            scaler.step(optimizer)
            scaler.update()
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
        found.append(_shown())
    torch.backends.cudnn.benchmark = False
    return found


def wide_softmax(tokens: int = 768, words: int = 267_735, width: int = 512) -> list[dict[str, int]]:
    """Train with logits of several hundred MiB, whose blocks lasting gradients and momenta cut up in the first step."""
    import torch
    from torch import nn

    _clear()
    table = nn.Embedding(words, width, device="cuda")
    body = nn.Sequential(*(m for _ in range(4) for m in (nn.Linear(width, width), nn.ReLU(), nn.Dropout(0.1)))).cuda()
    parameters = [*table.parameters(), *body.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.0, fused=True)
    found = [_shown()]
    for _ in range(4):
        ids = torch.zeros(tokens, dtype=torch.long, device="cuda")
        optimizer.zero_grad(set_to_none=False)
        logits = body(table(ids)) @ table.weight.t()
        chances = torch.log_softmax(logits, dim=-1)
        loss = -chances.gather(1, ids[:, None]).mean()
        del logits, chances
        loss.backward()
        optimizer.step()
        found.append(_shown())
    return found


def cells(steps: int = 50) -> list[dict[str, Any]]:
    """Ask what each step of a recurrent cell keeps for the backward pass: the kernel is one, its gates are saved."""
    import torch
    from torch import nn

    found = []
    for kind, dtype, train in product((nn.LSTMCell, nn.GRUCell), (torch.float32, torch.float16), (True, False)):
        _clear()
        cell = kind(256, 1024, device="cuda", dtype=dtype)
        x = torch.randn(64, 256, device="cuda", dtype=dtype)
        before = torch.cuda.memory_allocated()
        with torch.set_grad_enabled(train):
            state = cell(x)
            for _ in range(steps - 1):
                state = cell(x, state)
        after = torch.cuda.memory_allocated()
        found.append({"kind": kind.__name__, "dtype": str(dtype), "train": train, "bytes": after - before, **_shown()})
        del state
    return found


def recurrent_layers() -> list[dict[str, Any]]:
    """Ask for the workspaces of wide LSTM layers, as GNMT has them."""
    import torch

    rows = []
    for (steps, batch, inputs, both), dtype in product(
        ((50, 32, 1024, False), (50, 32, 2048, False), (50, 32, 1024, True), (50, 128, 2048, False)),
        (torch.float32, torch.float16),
    ):
        _clear()
        layer = torch.nn.LSTM(inputs, 1024, bidirectional=both, device="cuda", dtype=dtype)
        x = torch.randn(steps, batch, inputs, device="cuda", dtype=dtype, requires_grad=True)
        row: dict[str, Any] = {"x": list(x.shape), "bidirectional": both, "dtype": str(dtype)}
        row["forward"] = _beside(partial(layer, x))
        result = layer(x)[0].sum()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result.backward()
        row["backward"] = torch.cuda.max_memory_allocated() - max(before, torch.cuda.memory_allocated())
        rows.append(row)
        del layer, x, result
    return rows


def convolutions() -> list[dict[str, Any]]:
    """Ask for the workspace of each convolution and of its gradients, with and without a search of algorithms."""
    import torch

    rows = []
    shapes = [((b, i, n), (o, i, k), (1,), (d * (k // 2),), (d,)) for b, i, o, n, k, d in SERIES]
    more = [((b, i, n, n), (o, i, k, k), (s, s), (k // 2, k // 2), (1, 1)) for b, i, o, n, k, s in IMAGES]
    for shape, dtype, search in product((*shapes, *more), (torch.float32, torch.float16), (False, True)):
        x_shape, w_shape, stride, padding, dilation = shape
        _clear(search=search)
        x = torch.randn(x_shape, device="cuda", dtype=dtype)
        w = torch.randn(w_shape, device="cuda", dtype=dtype)
        options = (list(stride), list(padding), list(dilation), False, [0] * len(stride), 1)
        y = torch.ops.aten.convolution(x, w, None, *options)
        backward = torch.ops.aten.convolution_backward
        rows.append({
            "x": x_shape, "w": w_shape, "stride": stride, "dilation": dilation, "dtype": str(dtype), "search": search,
            "forward": _beside(partial(torch.ops.aten.convolution, x, w, None, *options)),
            "input": _beside(partial(backward, y, x, w, None, *options, [True, False, False])),
            "weight": _beside(partial(backward, y, x, w, None, *options, [False, True, False])),
        })  # fmt: skip
    torch.backends.cudnn.benchmark = False
    return rows


def _beside(call: Callable[[], Any]) -> list[int]:
    """Return the bytes a call held at most beside its results, the first time (a search) and the second."""
    import torch

    found = []
    for _ in range(2):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = call()
        after = torch.cuda.memory_allocated()
        found.append(torch.cuda.max_memory_allocated() - max(after, before))
        del result
    return found


def last_batch() -> list[dict[str, Any]]:
    """Note what the allocator keeps when batches have other shapes than the first."""
    from benchmarks.profile_models import MODELS as KNOWN

    found = []
    for name, batches in (("resnet50", (64, 64, 17, 64, 63)), ("gnmt", (32, 32, 9, 32, 31))):
        _clear()
        model = KNOWN[name]
        module = model.build().to("cuda").train()
        for batch in batches:
            module.zero_grad()
            model.loss(module, *model.inputs(batch, 1)).backward()
            found.append({"model": name, "batch": batch, **_shown()})
        del module
    return found


if __name__ == "__main__":
    sys.exit(main())
