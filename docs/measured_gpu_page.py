"""The page of what a real GPU said, from ``benchmarks/results/gpu_*.json``; nothing here measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULTS = DOCS.parent / "benchmarks" / "results"
_MEMORY_ID = "h200-sxm-141gb"  # the card that all comparisons of benchmarks/gpu.py ran on

_HEAD = """# Against a real GPU

What trainworthy says of a GPU that is not there, against that GPU. The rehearsals ran on a machine without one.

{cards}

- `python benchmarks/gpu.py --measure FILE` asks the card, `--measured FILE` compares, anywhere.
- `python -m benchmarks.gpu_step_time --measure FILE` times steps, `--compare FILE` predicts them.
- `python -m benchmarks.gpu_library_memory FILE` asks cuDNN for its workspaces and reserve spaces.
- `python -m benchmarks.engine_gpu` sets the engine beside a hand-written loop (docs/train.md).

What was learnt from the first card, the H200, went into the model: the second cuBLAS workspace (of autograd's thread),
the reserve space of recurrent layers (to the byte for 96 layers), the workspaces of convolutions on images that are not
channels-last, batch norms of few channels or in bfloat16, max pooling, depthwise convolutions, biases of convolutions,
and 16-bit products whose rows are no multiple of 16 bytes (a vocabulary of 50257 costs 11 of GPT-2's 37 ms). The shapes
that `calibrate` measures are none of the cases'.
"""

_TIME = """
## Time of a step

**Stated** is predicted from the row of the GPU alone, **calibrated** with `trainworthy calibrate` on that machine.
The hosts are virtual machines that are slow (10 us and more an operation of the forward pass) and whose speed changes
from second to second, which decides the cases whose device waits. The H200's steps were timed in a process that had
used torch's profiler, which makes every later launch slower; the H100's were timed before it was used.
"""

_TABLE = """
| case | measured | device busy | stated | calibrated |
|---|---|---|---|---|
"""


def page() -> dict[Path, str]:
    """Build the page; nothing if there are no results."""
    times = [_read(path.stem) for path in sorted(RESULTS.glob("gpu_step_time_*.json"))]
    memory = _read(f"gpu_{_MEMORY_ID}")
    found = [each for each in times if each is not None]
    if not found or memory is None:
        return {}
    cards = "\n".join(f"- {_card(each['measured_on'])}" for each in found)
    text = _HEAD.format(cards=cards) + _TIME + "".join(map(_time, found))
    text += _memory(found, memory) + "".join(map(_kinds, _read_all("gpu_memory_kinds_*"))) + _answers(memory)
    return {DOCS / "measured-gpu.md": text}


def _card(on: dict[str, Any]) -> str:
    return (
        f"One {on['device']}, {on['date'][:10]}: torch {on['torch']}, CUDA {on['cuda']}, {on['cores']} cores of "
        f"{on['cpu']} in a virtual machine."
    )


def _read(name: str) -> dict[str, Any] | None:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _read_all(pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob(f"{pattern}.json"))]


_KINDS = """
## Reserved memory, and what is beside it

Four steps of each model, gradients set to zero and kept (`python -m benchmarks.gpu_memory_kinds FILE` asks the card,
`gpu_memory_kinds_compare` rehearses and replays through the caching allocator). Nothing was fitted to these figures.
{card}: {outside} MiB were outside of the allocator.

| model, batch, precision | allocated | predicted | reserved | predicted | outside |
|---|---:|---:|---:|---:|---:|
"""


def _kinds(result: dict[str, Any]) -> str:
    on = result["measured_on"]
    noted = ", ".join(f"{mib} after {name}" for name, mib in result["outside_mib"].items() if name != "cache emptied")
    text = _KINDS.format(card=f"{on['device']}, torch {on['torch']}, cuDNN {on['cudnn']}", outside=noted)
    for name, each in result["training"].items():
        (a, r), (b, s), (e, f) = each["measured_mib"], each["predicted_mib"], each["error_pct"]
        text += f"| {name} | {a:,} | {b:,} ({e:+.1f} %) | {r:,} | {s:,} ({f:+.1f} %) | {each['outside_mib']} |\n"
    return text + _cells(result["cells"])


def _cells(cells: list[dict[str, Any]]) -> str:
    if not cells:
        return ""
    text = "\nFifty steps of a recurrent cell of 1024, batch 64, keep, in bytes:\n\n"
    text += "| cell | type | trains | measured | predicted |\n|---|---|---|---:|---:|\n"
    for c in cells:
        kind = f"| {c['kind']} | {c['dtype'].removeprefix('torch.')} | {'yes' if c['train'] else 'no'} |"
        text += f"{kind} {c['measured_bytes']:,} | {c['predicted_bytes']:,} |\n"
    return text


def _time(result: dict[str, Any]) -> str:
    on = result["measured_on"]
    rows = [
        f"| {name} | {case['median_s'] * 1e3:.2f} ms | {case['device_s'] * 1e3:.2f} ms | "
        f"{case['stated_s'] * 1e3:.2f} ms, {case['stated_error']:+.0%} | "
        f"{case['calibrated_s'] * 1e3:.2f} ms, {case['calibrated_error']:+.0%} |"
        for name, case in sorted(result["cases"].items())
    ]
    lines = []
    for kind, title in (
        ("stated_error", "stated"), ("calibrated_error", "calibrated"),
        ("stated_error_held_out", "stated, the cases added later"),
        ("calibrated_error_held_out", "calibrated, the cases added later"),
        ("calibrated_error_device_busy", "calibrated, where the device is busy nine tenths of the step or more"),
    ):  # fmt: skip
        s = result["summary"].get(kind)
        if s is not None:
            lines.append(
                f"- {title}: median error {s['median_error']:.1%}, 9 in 10 within {s['ninth_decile_error']:.1%}, "
                f"{s['within_25_percent']:.0%} within 25 %, {s['cases']} cases"
            )
    note = f"\n{on['note']}\n" if on.get("note") else ""
    return f"\n### {on['device']}\n{note}" + _TABLE + "\n".join(rows) + "\n\n" + "\n".join(lines) + "\n"


def _memory(times: list[dict[str, Any]], memory: dict[str, Any]) -> str:
    head = (
        "\n## Memory\n\nPeak of `torch.cuda.max_memory_allocated` and `max_memory_reserved` on the H200, predicted "
        "over seen.\n\n"
    )
    small = [
        f"| {name} | {case['seen']['max_memory_allocated_bytes'] / 2**20:.0f} MiB | "
        f"{case['allocated_error_pct']:+.1f} % | {case['reserved_error_pct']:+.1f} % |"
        for name, case in memory["cases"].items()
        if "error" not in case
    ]
    tail = "\nPeak allocated of the eager steps above (0.07 to 11 GB):\n\n"
    for each in times:
        s = each["summary"]["allocated_error"]
        tail += (
            f"- {each['measured_on']['device']}: {s['cases']} steps, median error {s['median_error']:.1%}, 9 in 10 "
            f"within {s['ninth_decile_error']:.1%}\n"
        )
    tail += (
        "\nWhat is missing are workspaces of some gradients of convolutions, which cuDNN chooses by itself:\n"
        "of those for weights up to 16 times what the model says. The table is of a time before the workspaces of\n"
        "recurrent layers were modelled.\n"
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
