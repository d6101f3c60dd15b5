"""Steps of timm's models on the virtual GPU, as counted signatures: what the comparison with its tables reads."""

from __future__ import annotations

import functools
import pickle
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from trainworthy.tape.record import PHASES, Signature, Tape


class CountedOps(NamedTuple):
    """The operators of one step: how often each signature ran, by phase; and what the tape's memory says."""

    ops: tuple[tuple[int, str, Signature], ...]
    peak_bytes: int


def counted(tape: Tape, step: int = 1) -> CountedOps:
    """Count the signatures of one step by phase."""
    counts: Counter[tuple[int, int]] = Counter()
    for row, times in tape.row_counts(step).items():
        counts[tape.rows[row].phase, tape.rows[row].signature] += times
    ops = tuple((times, PHASES[phase], tape.signatures[i]) for (phase, i), times in counts.items())
    return CountedOps(ops=ops, peak_bytes=tape.memory().peak_bytes)


def timm_step(name: str, *, batch: int, size: int, train: bool, gpu: str = "rtx-3090-24gb") -> CountedOps:
    """Record one step as timm's ``benchmark.py --amp --channels-last`` runs it; inference with its own options.

    Training there is forward under autocast, CrossEntropyLoss, backward without a gradient scaler and SGD with
    momentum 0.9 and Nesterov's rule, one tensor at a time (torch 1.12 has no default for all at once).
    """
    import torch
    from torch.nn.functional import cross_entropy

    from benchmarks.timm_models import create, import_timm
    from trainworthy.hardware import gpu_row
    from trainworthy.virtual.gpu import VirtualGpu

    import_timm().layers.set_fused_attn(not train)  # torch 1.12, which trained, has no fused attention
    with VirtualGpu(gpu_row(gpu)) as virtual:
        model = _sized(create, name, size).to("cuda").to(memory_format=torch.channels_last)
        model.train(train)
        x = torch.empty(batch, 3, size, size, device="cuda").contiguous(memory_format=torch.channels_last)
        steps = virtual.recorder.steps
        if not train:
            steps.begin()
            with torch.no_grad(), torch.autocast("cuda", dtype=torch.float16):
                model(x)
        else:
            target = torch.zeros(batch, dtype=torch.long, device="cuda")
            optimizer = torch.optim.SGD(
                model.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=1e-4, foreach=False
            )
            for parameter in model.parameters():  # momentum exists, as it does in all steps but the first
                optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter)
            steps.begin()
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", dtype=torch.float16):
                out = model(x)
                outputs = out if isinstance(out, (list, tuple)) else [out]
                loss = functools.reduce(torch.add, [cross_entropy(each, target) for each in outputs])
            loss.backward()
            optimizer.step()
        steps.finish()
        return counted(virtual.tape(script=name, steps=1))


def _sized(create: Any, name: str, size: int) -> Any:
    model = create(name)
    wanted = (getattr(model, "default_cfg", None) or {}).get("input_size", (3, size, size))[-1]
    return model if wanted == size or "fixed_input_size" not in str(model.default_cfg) else _resized(create, name, size)


def _resized(create: Any, name: str, size: int) -> Any:
    try:
        return create(name, img_size=size)
    except TypeError:
        return create(name)


def cached_step(folder: Path, name: str, *, batch: int, size: int, train: bool) -> CountedOps:
    """Read a recorded step, or record it."""
    path = folder / f"{name}-{batch}-{size}-{'train' if train else 'infer'}.pickle"
    if path.exists():
        found: CountedOps = pickle.loads(path.read_bytes())
        return found
    ops = timm_step(name, batch=batch, size=size, train=train)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(ops))
    return ops
