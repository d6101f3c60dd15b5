"""The page of what a real GPU said, from ``benchmarks/results/gpu_*.json``; nothing here measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
_ID = "h200-sxm-141gb"

_HEAD = """# Against a real GPU

What trainworthy says of a GPU that is not there, against that GPU. One NVIDIA H200, {date}: torch {torch}, CUDA {cuda},
{cores} cores of {cpu} in a virtual machine. The rehearsals ran on a machine without a GPU.

- `python benchmarks/gpu.py --measure FILE` asks the card, `--measured FILE` compares, anywhere.
- `python -m benchmarks.gpu_step_time --measure FILE` times steps, `--compare FILE` predicts them.
- `python -m benchmarks.gpu_library_memory FILE` asks cuDNN for its workspaces and reserve spaces.

What was learnt from this card went into the model: the second cuBLAS workspace (of autograd's thread), the reserve
space of recurrent layers (to the byte for 96 layers), the workspaces of convolutions on images that are not
channels-last, batch norms of few channels or in bfloat16, max pooling, depthwise convolutions, biases of convolutions,
and 16-bit products whose rows are no multiple of 16 bytes (a vocabulary of 50257 costs 11 of GPT-2's 37 ms). So the
figures below are not those of a card that nobody had seen; the shapes that `calibrate` measures are none of the cases'.
"""

_TIME = """
## Time of a step

**Stated** is predicted from the row of the GPU alone, **calibrated** with `trainworthy calibrate` on that machine.
Calibration and steps ran on virtual machines of one kind on the same day, not in one process; their hosts are slow
(23 us an operator of the forward pass) and vary by half from one to the next, which decides the cases whose device
waits.

| case | measured | device busy | stated | calibrated |
|---|---|---|---|---|
"""


def page() -> dict[Path, str]:
    """Build the page; nothing if there are no results."""
    time, memory = _read(f"gpu_step_time_{_ID}"), _read(f"gpu_{_ID}")
    if time is None or memory is None:
        return {}
    on = time["measured_on"]
    head = _HEAD.format(date=on["date"][:10], torch=on["torch"], cuda=on["cuda"], cores=on["cores"], cpu=on["cpu"])
    text = head + _time(time) + _memory(time, memory) + _answers(memory)
    return {DOCS / "measured-gpu.md": text}


def _read(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _time(result: dict[str, Any]) -> str:
    rows = [
        f"| {name} | {case['median_s'] * 1e3:.2f} ms | {case['device_s'] * 1e3:.2f} ms | "
        f"{case['stated_s'] * 1e3:.2f} ms, {case['stated_error']:+.0%} | "
        f"{case['calibrated_s'] * 1e3:.2f} ms, {case['calibrated_error']:+.0%} |"
        for name, case in sorted(result["cases"].items())
    ]
    lines = []
    for kind, title in (("stated_error", "stated"), ("calibrated_error", "calibrated")):
        s = result["summary"][kind]
        lines.append(
            f"- {title}: median error {s['median_error']:.1%}, 9 in 10 within {s['ninth_decile_error']:.1%}, "
            f"{s['within_25_percent']:.0%} within 25 %, {s['cases']} cases"
        )
    return _TIME + "\n".join(rows) + "\n\n" + "\n".join(lines) + "\n"


def _memory(time: dict[str, Any], memory: dict[str, Any]) -> str:
    head = (
        "\n## Memory\n\nPeak of `torch.cuda.max_memory_allocated` and `max_memory_reserved`, predicted over seen.\n\n"
    )
    small = [
        f"| {name} | {case['seen']['max_memory_allocated_bytes'] / 2**20:.0f} MiB | "
        f"{case['allocated_error_pct']:+.1f} % | {case['reserved_error_pct']:+.1f} % |"
        for name, case in memory["cases"].items()
        if "error" not in case
    ]
    s = time["summary"]["allocated_error"]
    tail = (
        f"\nOf the {s['cases']} eager steps above (0.07 to 11 GB): median error {s['median_error']:.1%}, 9 in 10 "
        f"within {s['ninth_decile_error']:.1%}. What is missing in small networks are workspaces inside of cuDNN's\n"
        "recurrent layers and of some gradients of convolutions.\n"
    )
    return (
        head + "| case | allocated, seen | allocated | reserved |\n|---|---|---|---|\n" + "\n".join(small) + "\n" + tail
    )


def _answers(memory: dict[str, Any]) -> str:
    lines = ["", "## Answers", "", "| asked | same | different (seen / predicted) |", "|---|---|---|"]
    for probe, found in memory["probes"].items():
        different = "; ".join(f"{k}: {seen} / {said}" for k, (seen, said) in found["different"].items())
        cell = different.replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {probe.replace('_', ' ')} | {found['same']} of {found['asked']} | {cell or '-'} |")
    note = (
        "\nThe card ran torch 2.11; rules are those of 2.13. Whether attention goes to cuDNN with dropout or a head\n"
        "of 192, what `rms_norm` returns under autocast, and two error texts differ between the two.\n"
    )
    return "\n".join(lines) + "\n" + note
