"""The page of published runs, from ``benchmarks/results/published_runs.json``; nothing here measures."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
PEERS = DOCS.parent / "benchmarks" / "results" / "published_runs_peers.json"
RESULT = DOCS.parent / "benchmarks" / "results" / "published_runs.json"
_SCOPES = {"common": "all", "generation": "GPU generation", "stack": "stack", "pair": "stack on generation"}


def page() -> dict[Path, str]:
    """Build docs/published-runs.md; nothing where the benchmark never ran."""
    if not RESULT.exists():
        return {}
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    lines = [*_head(result), *_overall(result), *_by_source(result), *_assumed(result), *_peers(), *_hardest(result)]
    return {DOCS / "published-runs.md": "\n".join([*lines, *_constants(result), *_network(result)]) + "\n"}


def _head(result: Mapping[str, Any]) -> Iterator[str]:
    rows, required = result["rows"], ", ".join(f"`{name}`" for name in result["columns"]["required"])
    yield from ("# Published runs: predicted and measured", "")
    yield from _paragraph(
        "`trainworthy estimate --runs TABLE.csv --output OUT.csv` predicts step time, MFU and peak memory of every row "
        "of a table of training runs. This page compares it with published measurements: "
        f"`python -m benchmarks.published_runs`, {result['date'][:10]}, {result['seconds_a_row'] * 1000:.1f} ms a row. "
        "The measurements are not part of the repository; their sources are named below."
    )
    yield from _paragraph(
        f"Required columns: {required}. Columns with results of a run (step time, tokens/s, TFLOP/s, MFU, HFU, peak "
        "memory, status) are removed before a row is read. What else a row leaves out is taken from the habits of its "
        "software (`src/trainworthy/estimate/constants`) and written into `prediction_note`: attention kernel, "
        "checkpointing, precision, ZeRO stage, network, sequence parallel, interleaving, vocabulary."
    )
    yield from _paragraph(
        f"Of {rows['table']} rows {rows['stated']} state all required columns, {rows['stated_with_time']} with a time; "
        f"{rows['assumed']} are predicted with one assumed or known by the model's name ({rows['assumed_with_time']} "
        "with a time) and counted apart; the others are not predicted. A row without a step time is compared by its "
        "tokens/s, or by its TFLOP/s under its own convention."
    )


def _overall(result: Mapping[str, Any]) -> Iterator[str]:
    names = {
        "shipped": "constants as shipped",
        "half_of_each_source": "fitted to every other row, the rest predicted",
        "left_out": "fitted without the source",
        "null": "null model: FLOPs / peak x constant x bubble, without the source",
    }
    yield "| all sources weighted equally | median error | 9 in 10 below | within 20 % | worst source's median |"
    yield "|---|---|---|---|---|"
    for key, name in names.items():
        found = result[key]
        yield (
            f"| {name} | {_percent(found['weighted_median'])} | {_percent(found['weighted_p90'])} | "
            f"{_percent(found['within_20'])} | {_percent(found['worst_source_median'])} |"
        )
    yield ""
    yield from _paragraph(
        "A source is a repository or a paper; all tables of one are left out together. The form of the model and the "
        "priors of its constants were revised while these rows were looked at, so the error of a left-out source is "
        "that of its constants, not of a model built blind. Identical runs differ by 0.5 % within a day and 3 to 7 % "
        "between days."
    )


def _by_source(result: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "## Step time by source", "",
        "| source | rows | median | 9 in 10 | within 20 % | bias | left out: median | null model |",
        "|---|---|---|---|---|---|---|---|",
    )  # fmt: skip
    for source, found in sorted(result["shipped"]["sources"].items(), key=lambda each: -each[1]["rows"]):
        alone, null = (result[key]["sources"][source]["median"] for key in ("left_out", "null"))
        yield (
            f"| {source} | {found['rows']} | {_percent(found['median'])} | {_percent(found['p90'])} | "
            f"{_percent(found['within_20'])} | {100 * found['bias']:+.0f} % | {_percent(alone)} | {_percent(null)} |"
        )
    yield ""


def _assumed(result: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Rows with an assumption", "")
    yield from _paragraph("A micro batch of 1, a sequence length, or the model's sizes were not in the row.")
    yield "| source | rows | median | 9 in 10 | within 20 % | bias |"
    yield "|---|---|---|---|---|---|"
    for source, found in sorted(result["assumed"]["sources"].items(), key=lambda each: -each[1]["rows"]):
        yield (
            f"| {source} | {found['rows']} | {_percent(found['median'])} | {_percent(found['p90'])} | "
            f"{_percent(found['within_20'])} | {100 * found['bias']:+.0f} % |"
        )
    yield ""


def _peers() -> Iterator[str]:
    if not PEERS.exists():
        return
    result = json.loads(PEERS.read_text(encoding="utf-8"))
    yield from ("## Beside other tools", "")
    yield from _paragraph(
        f"On the rows that each can express, with the constants that it comes with (`python -m "
        f"benchmarks.published_runs_peers`, {result['date'][:10]}). Ours are fitted to these rows, theirs are not: the "
        "error of left-out sources above is the fair one to hold against them."
    )
    yield "| tool | rows | median error | within 20 % | bias | ours on these rows: median | within 20 % | ms a row |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, found in result["peers"].items():
        if found["rows"]:
            peer, ours = found["peer"], found["ours"]
            yield (
                f"| {name} | {found['rows']} | {_percent(peer['weighted_median'])} | {_percent(peer['within_20'])} | "
                f"{100 * found['bias']:+.0f} % | {_percent(ours['weighted_median'])} | {_percent(ours['within_20'])} | "
                f"{found['seconds_a_row'] * 1000:.1f} (ours {found['our_seconds_a_row'] * 1000:.1f}) |"
            )
    yield ""


def _hardest(result: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "## Hard rows", "", "The rows that are furthest off, three of a source at most.", "",
        "| row | predicted / measured | model | GPU | layout |", "|---|---|---|---|---|",
    )  # fmt: skip
    for row in result["hardest"]:
        yield f"| {row['id']} | {row['ratio']:.2f} | {row['model']} | {row['gpu']} | {row['layout']} |"
    yield ""
    yield from _paragraph(
        "Known reasons: a sliding or block-sparse attention mask that no column states (FlexAttention), a board whose "
        "power limit is mentioned without a figure, DeepSpeed's ZeRO-3 of 2021 on a thousand GPUs, allocations with a "
        "slow network (BigScience's notes speak of 40 % between allocations), tokens that are routed unevenly."
    )


def _constants(result: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Constants", "")
    yield from _paragraph(
        "Fitted by least squares on the logarithm of predicted / measured, each held by a prior from data sheets and "
        "papers; `moved` is by how many spreads of the prior the rows pulled it. Those that moved less than 0.3 are "
        "not shown. What each means is said in `src/trainworthy/estimate/run_constants.py`."
    )
    yield "| constant | holds for | value | prior | moved |"
    yield "|---|---|---|---|---|"
    for each in result["constants"]:
        if abs(each["moved_spreads"]) >= 0.3:
            where = _SCOPES[each["scope"]] if each["key"] == "*" else each["key"]
            value, prior, moved = each["value"], each["prior"], each["moved_spreads"]
            yield f"| `{each['name']}` | {where} | {value:.3g} | {prior:.3g} | {moved:+.1f} |"
    yield ""


def _network(result: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        "## All-reduce inside a node", "", "Measured by vTrain with NCCL, 1 MiB to 1 GiB.", "",
        "| GPUs | sizes | median error | up to 32 MiB | worst |", "|---|---|---|---|---|",
    )  # fmt: skip
    for each in result["network"]:
        name = each["table"].removeprefix("allreduce_").replace("_", ", ").replace("gpu", " GPUs")
        yield (
            f"| {name.upper().replace('GPUS', 'GPUs')} | {each['sizes']} | {_percent(each['median'])} | "
            f"{_percent(each['median_to_32_mib'])} | {_percent(each['worst'])} |"
        )


def _paragraph(text: str) -> list[str]:
    return [*textwrap.wrap(text, width=110, break_long_words=False, break_on_hyphens=False), ""]


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if value < 0.995 else f"{100 * value:.0f} %"
