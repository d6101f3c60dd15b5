"""The page of models on one GPU, from ``benchmarks/results/single_gpu.json``; nothing here measures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
RESULT = DOCS.parent / "benchmarks" / "results" / "single_gpu.json"

_HEAD = """# Models on one GPU: predicted and measured

`trainworthy estimate --runs TABLE.csv --output OUT.csv` also takes tables of ordinary models on one GPU (or a few):
image models, BERT, GNMT, SSD, Tacotron 2 and others, at a batch, a precision and a GPU. This page compares what it says
with published measurements: `python -m benchmarks.single_gpu`. The measurements are not part of the repository.

How a row is predicted, without torch:

1. A **profile** of the model (`src/trainworthy/estimate/profile_data`) holds every operator of a step with its shapes,
   as the virtual GPU recorded it; batch and sequence are letters in it. `python -m benchmarks.profiles` writes them.
2. Each operator is **kernels of a kind**: arithmetic with what sticks out of tiles and waves, bytes with every pass
   over them (`estimate/kernel_work.py`, `conv_work.py`). A kind takes the longer of the two, at a share of what plain
   products and plain streaming reach on that GPU (`kernel_rates.py`: one set of shares for all GPUs), plus a launch.
3. The step is the slower of device and host; several GPUs add the gradients' all-reduce that the backward pass does
   not hide.
4. **Calibrated** means: one scale for the GPU (three rows), one for the host of a software stack (six), and factors
   for an implementation and its precision (one row each), fitted to rows that a hash of their ids chooses and the
   comparison leaves out. `estimate/published_rates.toml` names them. The RTX 3090 has two scales, from ten models of
   timm's tables.

What is hard, and why: rows of NVIDIA's BERT at 512 tokens take half the time that all their tokens would need (V100,
float32: 19 sequences/s are 19 TFLOP/s of a peak of 15.7, so part of the padding is not computed); small batches on a
slow host (torchvision on the A100, 5 to 7 times the host's usual time an operator) hang on that one number; recurrent
decoders (Tacotron 2, GNMT) depend on how far batches are padded; gradients of grouped convolutions and cuDNN of 2020
on new GPUs; single rows of one machine ("8x A100 80GB SXM4" of Lambda is half as fast as its neighbours).

The shares of the kinds were worked out on timm's tables, on models outside of the sample below; RTX 3090 only. The
form of the model was revised while rows of all tables were looked at. Errors of throughput are predicted over
measured, less 1.
"""


def page() -> dict[Path, str]:
    """Build docs/single-gpu.md; nothing where the benchmark never ran."""
    if not RESULT.exists():
        return {}
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    return {DOCS / "single-gpu.md": _HEAD + "\n" + page_text(result)}


def page_text(result: dict[str, Any]) -> str:
    """Write the generated part."""
    table, timm, memory = result["table"], result["timm"], result["memory"]
    lines = ["## Throughput, predicted and measured", ""]
    rows = [
        (
            f"timm, {name}, {timm[mode]['sample']} models, RTX 3090",
            timm[mode]["null"],
            timm[mode]["uncalibrated"],
            timm[mode]["calibrated"],
        )
        for mode, name in (("train", "training"), ("infer", "inference"))
    ]
    rows.append((f"table, {table['compared']} rows", {}, table["uncalibrated"], table["calibrated"]))
    lines += ["| | null model | uncalibrated | calibrated | bias |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {_pair(n)} | {_pair(a)} | {_pair(b)} | {b.get('bias_pct', 0):+.1f} % |" for name, n, a, b in rows
    ]
    lines += [
        "",
        "Median error / 9 in 10 within. Null model: FLOPs over one constant rate, fitted to the same ten models.",
    ]
    lines += [
        "",
        f"Of the table's {table['rows']} rows {table['calibration']} are the calibration, {table['compared']} are "
        f"compared; {sum(result['no_prediction'].values())} have no prediction (reasons below), the others no time. "
        f"In {table['batch_assumed'].get('rows', 0)} of the compared rows the batch is not stated and the benchmark's "
        f"usual one is taken (median {table['batch_assumed'].get('median_pct', '-')} %; the others "
        f"{table['batch_stated'].get('median_pct', '-')} %). With each GPU's own rows left out (other GPUs known): "
        f"median {table['left_one_gpu_out']['median_pct']} %, 9 in 10 within {table['left_one_gpu_out']['p90_pct']} %.",
    ]
    for title, key in (
        ("source", "by_source"),
        ("task", "by_task"),
        ("number of GPUs", "by_gpus"),
        ("GPU", "by_gpu"),
        ("model", "by_model"),
    ):
        lines += [
            "",
            f"### By {title}",
            "",
            f"| {title} | rows | median | 9 in 10 within | bias |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {f['rows']} | {f['median_pct']:.1f} % | {f['p90_pct']:.1f} % | {f['bias_pct']:+.1f} % |"
            for name, f in result[key].items()
        ]
    lines += [
        "",
        "### Where it is furthest off",
        "",
        "| row | model | GPU | error of throughput |",
        "|---|---|---|---|",
    ]
    lines += [f"| {w['id']} | {w['model']} | {w['gpu']} | {w['error_pct']:+.0f} % |" for w in result["worst"]]
    lines += ["", "### Rows without a prediction", "", "| reason | rows |", "|---|---|"]
    lines += [f"| {reason} | {count} |" for reason, count in result["no_prediction"].items()]
    lines += [
        "",
        "## Peak memory",
        "",
        "| measured | rows | median | 9 in 10 within | within 15 % |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {kind} | {f['rows']} | {f['median_pct']:.1f} % | {f['p90_pct']:.1f} % | {f['within_15_pct']:.0f} % |"
        for kind, f in memory["by_kind"].items()
    ]
    lines += _without_note(memory)
    lines += ["", "| does it fit? | said yes | unsure | no |", "|---|---|---|---|"]
    names = {"ok": "it ran", "oom": "it ran out of memory"}
    lines += [f"| {names[s]} | {f['yes']} | {f['unsure']} | {f['no']} |" for s, f in memory["fits"].items()]
    lines += [""]
    lines += ["## The calibration", "", "Rows that scales were fitted to, and that nothing above counts:", ""]
    lines += [", ".join(f"`{row}`" for row in result["calibration_rows"]), ""]
    return "\n".join(lines)


_NOTE = """
Rows of Lambda note that the batch was chosen to fill the card, and what is said of them above leans on that note.
Without it, the program alone says what the next table shows. Their figure is what `nvidia-smi` shows of the whole card,
read every two seconds, so a desktop of up to 560 MiB and what DALI takes to decode images are in it.

Five of the programs are rehearsed as Lambda ran them, with the habits of PyTorch before 1.11
(`benchmarks/memory_programs.py`, `memory_legacy.py`), several steps long, and what they ask for is replayed through the
caching allocator; the context of a CUDA without lazy loading comes to it (1113 MiB on a V100, 1573 MiB on an A100, by
BigScience's notes). **No constant of that is fitted to a row**, so there is nothing to leave out. What decided:

- Transformer-XL ran without `--adaptive`: every step scores all 267,735 words, and softmax kept its input as well as
  its result until PyTorch 1.11 (pytorch/pytorch#64000).
- The first step cuts gradients and momenta, which last, out of the blocks that logits left; the second step finds none
  of that size and asks the driver again. Reserved memory settles in the third step.
- What a function compiled by TorchScript keeps for its backward pass was released with the graph only, which a loop's
  names hold until the next forward pass is over (pytorch/pytorch#42994): WaveGlow holds its gates twice.
- Autograd keeps both products of an LSTM cell beside the kernel's workspace: Tacotron 2, 870 times a step.
- GNMT's trainer runs a batch of the longest sentences first, with its logits held by a name during the backward pass.
- NCF holds MovieLens-20M, its shuffled epoch of 100 million pairs and its test set on the card.

Which of these it is was found with the rows in sight; that the replay is right is not of their making: on an H100,
where nothing was fitted either, it gives the reserved memory of 14 trainings within 2.7 % (median; 8.8 % at most; see
measured-gpu.md).

ResNet-50 and SSD are not among the five: with `cudnn.benchmark` the first step tries algorithms whose workspaces cuDNN
does not publish. For them the step's tensors are taken times 1.16 plus 1891 MiB, fitted to other measurements
(GPUMemNet).
"""


def _without_note(memory: dict[str, Any]) -> list[str]:
    lines = [_NOTE, "| model, without the note | rows | median | 9 in 10 within | bias |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {f['rows']} | {f['median_pct']:.1f} % | {f['p90_pct']:.1f} % | {f['bias_pct']:+.1f} % |"
        for name, f in memory["without_note_by_model"].items()
    ]
    lines += [
        "",
        "Some rows show that the figure is not what the step needs: the same model and precision ran, with the same "
        "batch or a larger one, on a card that has less memory than was seen in use. (The log of lambdamem-869 says "
        "`amp : False`: that release of the script had renamed the option, and ran in float32.)",
        "",
        "| row | model | batch | seen in use | ran with | there |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {c['id']} | {c['model']} | {c['batch']:,} | {c['measured_gib']:.1f} GiB | {c['ran_with_gib']:.1f} GiB | "
        f"{c['there']} |"
        for c in memory["contradictions"]
    ]
    return lines


def _pair(figures: dict[str, Any]) -> str:
    return f"{figures['median_pct']:.1f} % / {figures['p90_pct']:.1f} %" if figures.get("rows") else "-"
