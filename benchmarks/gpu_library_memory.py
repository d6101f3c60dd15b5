"""What cuDNN asks PyTorch's allocator for: reserve space of recurrent layers, workspaces of convolutions.

    python -m benchmarks.gpu_library_memory FILE.json    needs a CUDA device

NVIDIA publishes no sizes. What is measured here is what the model in ``virtual/kernels.py`` is held against.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.common import machine, versions


def main() -> int:
    """Ask, and write what was answered."""
    import torch

    if not torch.cuda.is_available():
        print("skipped: torch sees no CUDA device")
        return 0
    answer = {
        "device": torch.cuda.get_device_name(0), "torch": torch.__version__, "cudnn": torch.backends.cudnn.version(),
        "machine": machine(), "versions": versions(), "recurrent": recurrent(), "convolutions": convolutions(),
    }  # fmt: skip
    Path(sys.argv[1]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


def recurrent() -> list[dict[str, Any]]:
    """Reserve space, and what a forward and a backward pass take beside their results."""
    import torch

    rows = []
    kinds = (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN)
    for kind, (steps, batch, inputs, hidden), layers, both, dtype in product(
        kinds, ((64, 48, 128, 256), (20, 16, 64, 128), (128, 64, 512, 1024), (10, 4, 32, 32)), (1, 2), (False, True),
        (torch.float32, torch.float16),
    ):  # fmt: skip
        layer = kind(inputs, hidden, layers, bidirectional=both, device="cuda", dtype=dtype)
        x = torch.randn(steps, batch, inputs, device="cuda", dtype=dtype, requires_grad=True)
        (y, _), forward = _extra(lambda layer=layer, x=x: layer(x))  # type: ignore[misc]
        reserve = y.grad_fn
        while reserve is not None and not hasattr(reserve, "_saved_result3"):
            reserve = reserve.next_functions[0][0] if reserve.next_functions else None
        reserve_bytes = None if reserve is None else reserve._saved_result3.numel()  # gone after the backward pass
        _, backward = _extra(lambda y=y: y.sum().backward())  # type: ignore[misc]
        rows.append({
            "kind": kind.__name__, "steps": steps, "batch": batch, "inputs": inputs, "hidden": hidden,
            "layers": layers, "bidirectional": both, "dtype": str(dtype), "forward": forward, "backward": backward,
            "reserve_bytes": reserve_bytes,
        })  # fmt: skip
    return rows


# Networks for small images, whose peaks were a fifth too low: one gradient of a weight took 70 MiB beside its result.
_SMALL = tuple(
    (batch, side, c_in, c_out, kernel, stride)
    for batch in (16, 64, 128)
    for side, c_in, c_out, kernel, stride in (
        (32, 3, 16, 3, 1), (32, 16, 16, 3, 1), (32, 16, 32, 3, 2), (32, 16, 32, 1, 2), (16, 32, 32, 3, 1),
        (16, 32, 64, 3, 2), (8, 64, 64, 3, 1), (48, 3, 32, 3, 1), (24, 32, 64, 3, 1), (12, 64, 128, 3, 1),
    )
)  # fmt: skip


def _drawn() -> Iterator[tuple[int, ...]]:
    """Draw batch, side, channels in and out, kernel, stride."""
    random = Random(7)
    for _ in range(60):
        batch, side = random.choice((8, 16, 32, 64)), random.choice((7, 14, 28, 56, 112))
        c_in, c_out = random.choice((3, 16, 32, 64, 128, 256)), random.choice((16, 32, 64, 128, 256))
        kernel, stride = random.choice((1, 3, 3, 5, 7)), random.choice((1, 1, 2))
        if batch * side * side * max(c_in, c_out) <= 3e7:
            yield batch, side, c_in, c_out, kernel, stride


def convolutions() -> list[dict[str, Any]]:
    """Workspace of a convolution and of each gradient, in both layouts and two types."""
    import torch

    aten, rows = torch.ops.aten, []
    for batch, side, c_in, c_out, kernel, stride in (*_SMALL, *_drawn()):
        for dtype, layout in product((torch.float32, torch.bfloat16), (torch.contiguous_format, torch.channels_last)):
            x = torch.randn(batch, c_in, side, side, device="cuda", dtype=dtype).to(memory_format=layout)
            w = torch.randn(c_out, c_in, kernel, kernel, device="cuda", dtype=dtype).to(memory_format=layout)
            args = (None, [stride] * 2, [kernel // 2] * 2, [1, 1], False, [0, 0], 1)
            y, forward = _extra(lambda x=x, w=w, args=args: aten.convolution(x, w, *args))  # type: ignore[misc]
            found = {"forward": forward}
            for name, mask in (("input", [True, False, False]), ("weight", [False, True, False])):
                _, found[name] = _extra(
                    lambda y=y, x=x, w=w, args=args, mask=mask: aten.convolution_backward(
                        y, x, w, None, *args[1:], mask
                    )  # type: ignore[misc]
                )
            rows.append({
                "x": list(x.shape), "w": list(w.shape), "y": list(y.shape), "stride": stride, "dtype": str(dtype),
                "channels_last": layout is torch.channels_last, **{k: v["beside_bytes"] for k, v in found.items()},
            })  # fmt: skip
    return rows


def _extra(call: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
    """Return what ``call`` returns, and the bytes that it held at most beside what it leaves."""
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = call()
    after, peak = torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()
    return result, {"left_bytes": after - before, "beside_bytes": peak - max(after, before)}


if __name__ == "__main__":
    sys.exit(main())
