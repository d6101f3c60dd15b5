"""Trainings whose memory is compared on a real GPU: the twelve cases of tests/zoo/small.py, and GPT-2 124M.

As a process: trains one case for two steps on the GPU and reports what its allocator and driver say (``real``), or
rehearses the same lines without a GPU and reports the prediction (``virtual``).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from benchmarks.common import ROOT, leave

STEPS = 2
GPT2 = "gpt2_124m"


def case_names() -> list[str]:
    """List the cases, GPT-2 last."""
    from zoo.small import CASES

    return [*CASES, GPT2]


def trainer(name: str) -> Callable[[Callable[[str], None]], None]:
    """Return a function that trains a case on ``cuda``; it calls its argument after building and after each step."""
    return _train_gpt2 if name == GPT2 else lambda after: _train_small(name, after)


def _train_small(name: str, after: Callable[[str], None]) -> None:
    import torch

    from zoo.small import CASES, train_step

    torch.manual_seed(0)
    case = CASES[name]("cuda")
    optimizer = case.make_optimizer(case.model.parameters())
    after("built")
    for step in range(STEPS):
        train_step(case, optimizer)
        after(f"step_{step + 1}")


def example_gpt() -> Any:
    """Return the GPT class of the example."""
    spec = importlib.util.spec_from_file_location("transformer_lm", ROOT / "examples" / "transformer_lm.py")
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example.GPT


def _train_gpt2(after: Callable[[str], None]) -> None:
    """Train 8 x 1024 tokens under bfloat16 autocast with fused AdamW; the model is that of the example."""
    import torch

    model = example_gpt()(50257, 1024, 12, 12, 768).to("cuda")
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, fused=True)
    after("built")
    for step in range(STEPS):
        tokens = torch.randint(50257, (8, 1025)).to("cuda")
        with torch.autocast("cuda", torch.bfloat16):
            _, loss = model(tokens[:, :-1], tokens[:, 1:].contiguous())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        after(f"step_{step + 1}")


# --- on the GPU ---------------------------------------------------------------------------------------


def real(name: str) -> dict[str, Any]:
    """Train on the GPU; the process must be fresh, so that context, libraries and allocator start from nothing."""
    before = driver_used_bytes()  # of the whole card: other processes are told apart by this
    import torch

    torch.cuda.init()
    stages: dict[str, dict[str, int]] = {}

    def after(stage: str) -> None:
        torch.cuda.synchronize()
        stages[stage] = {
            "allocated_bytes": torch.cuda.memory_allocated(), "reserved_bytes": torch.cuda.memory_reserved(),
            "max_allocated_bytes": torch.cuda.max_memory_allocated(),
        }  # fmt: skip

    with history() as taken:
        trainer(name)(after)
    free, total = torch.cuda.mem_get_info()
    reserved, used = torch.cuda.memory_reserved(), driver_used_bytes()
    return {
        "max_memory_allocated_bytes": torch.cuda.max_memory_allocated(),
        "max_memory_reserved_bytes": torch.cuda.max_memory_reserved(), "stages": stages,
        "context_bytes": None if used is None or before is None else used - before - reserved,
        "context_by_mem_get_info_bytes": total - free - reserved, "driver_used_before_bytes": before,
        "live_at_peak": live_at_peak(taken), "allocator_settings": os.environ.get("PYTORCH_CUDA_ALLOC_CONF", ""),
    }  # fmt: skip


def driver_used_bytes() -> int | None:
    """Return the memory in use on the card as nvidia-smi reports it (MiB steps); None where it cannot be asked."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return int(done.stdout.split()[0]) << 20
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


class history:  # noqa: N801 - reads as a statement
    """Record what the allocator is asked for; ``events`` hold (action, address, size) in order."""

    def __init__(self) -> None:
        self.events: list[tuple[str, int, int]] = []

    def __enter__(self) -> list[tuple[str, int, int]]:
        """Begin; an allocator without a history leaves the list empty."""
        import torch

        with suppress(AttributeError, TypeError, RuntimeError):
            torch.cuda.memory._record_memory_history("all", context=None, stacks="python", max_entries=2_000_000)
        return self.events

    def __exit__(self, *exc: object) -> None:
        """Collect the events."""
        import torch

        try:
            traces = torch.cuda.memory._snapshot()["device_traces"]
            torch.cuda.memory._record_memory_history(None)
        except (AttributeError, KeyError, TypeError, RuntimeError):
            return
        self.events += [(e["action"], e["addr"], e["size"]) for trace in traces for e in trace]


def live_at_peak(events: Iterable[tuple[str, int, int]]) -> dict[str, int]:
    """Count the live blocks at the peak by size, largest first: what a prediction is compared with block by block."""
    live: dict[int, int] = {}
    at_peak: dict[int, int] = {}
    total = peak = 0
    for action, address, size in events:
        if action == "alloc":
            live[address] = size
            total += size
            if total > peak:
                peak, at_peak = total, dict(live)
        elif action == "free_completed" and address in live:
            total -= live.pop(address)
    return by_size(at_peak.values())


def by_size(sizes: Iterable[int], *, most: int = 400) -> dict[str, int]:
    """Count equal sizes; the keys are texts, as JSON wants them."""
    counts = Counter(sizes)
    return {str(size): counts[size] for size in sorted(counts, reverse=True)[:most]}


# --- without one --------------------------------------------------------------------------------------


def virtual(name: str, gpu: str | None) -> dict[str, Any]:
    """Rehearse the same lines and predict."""
    from trainworthy.hardware import gpu_row
    from trainworthy.inspect import summarize
    from trainworthy.virtual.gpu import VirtualGpu

    with VirtualGpu(gpu_row(gpu) if gpu else None) as device:
        trainer(name)(lambda stage: None)
    tape = device.tape()
    result = summarize(tape)
    return {
        "peak_memory_bytes": result.peak_memory_bytes, "max_memory_allocated_bytes": result.max_memory_allocated_bytes,
        "workspace_bytes": result.workspace_bytes, "max_memory_reserved_bytes": result.reserved_memory_bytes,
        "context_bytes": result.context_bytes, "memory_by_kind_bytes": result.memory_by_kind_bytes,
        "peak_step": result.peak_step, "peak_phase": result.peak_phase, "peak_op": result.peak_op,
        "live_at_peak": _predicted_blocks(tape, result.workspace_bytes or 0),
    }  # fmt: skip


def _predicted_blocks(tape: Any, workspace_bytes: int) -> dict[str, int]:
    from trainworthy.inspect import replay

    played = replay(tape, workspace_bytes=workspace_bytes)
    sizes = [
        -(-tape.classes[which].size_bytes // 512) * 512
        for which, count in played.live_at_peak.items()
        for _ in range(count)
    ]
    num_workspaces = played.workspace_at_peak_bytes // workspace_bytes if workspace_bytes else 0
    return by_size([*sizes, *([workspace_bytes] * num_workspaces)])


def block_differences(seen: dict[str, int], predicted: dict[str, int], *, most: int = 12) -> list[dict[str, int]]:
    """List the sizes at which the peak differs, the most bytes first: where to look when a figure is off."""
    sizes: Sequence[str] = sorted({*seen, *predicted}, key=int)
    rows = [
        {"block_bytes": int(size), "seen": seen.get(size, 0), "predicted": predicted.get(size, 0)}
        for size in sizes
        if seen.get(size, 0) != predicted.get(size, 0)
    ]
    return sorted(rows, key=lambda r: -abs(r["seen"] - r["predicted"]) * r["block_bytes"])[:most]


def main() -> None:
    """Report one case in this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("where", choices=["real", "virtual"])
    parser.add_argument("case")
    parser.add_argument("--gpu", help="row of trainworthy's hardware, for virtual")
    options = parser.parse_args()
    leave(real(options.case) if options.where == "real" else virtual(options.case, options.gpu))


if __name__ == "__main__":
    main()
