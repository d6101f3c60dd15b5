"""The comparison with other estimators: what is asked, what counts as an answer, and whose rows ours is measured on."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from benchmarks.estimators_peers import Answer, CannotAnswerError, peers

from benchmarks import estimators
from trainworthy.estimate.run_config import RunConfig

ROW = {
    "id": "x-1", "model": "GPT", "layers": "24", "hidden": "2048", "ffn_hidden": "8192", "heads": "16",
    "kv_heads": "16", "vocab": "51200", "seq_len": "2048", "global_batch": "512", "micro_batch": "4", "gpu": "A100 SXM",
    "gpu_memory_gb": "80", "num_gpus": "8", "gpus_per_node": "8", "dp": "8", "zero_stage": "1", "tp": "1", "pp": "1",
    "cp": "1", "activation_checkpointing": "full", "precision": "bf16", "step_time_s": "10", "peak_memory_gb": "20",
    "memory_kind": "nvidia-smi GB", "status": "ok", "source_url": "https://github.com/NVIDIA/Megatron-LM",
}  # fmt: skip


def _table(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "published_runs.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*ROW, "grad_accum", "note"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_only_rows_that_ran_and_were_measured_are_asked_about(tmp_path: Path) -> None:
    out_of_memory = {**ROW, "status": "oom"}
    unmeasured = {**ROW, "step_time_s": "", "peak_memory_gb": ""}
    cases = estimators.sample(_table(tmp_path, [ROW, out_of_memory, unmeasured, {**ROW, "gpu": "abacus"}]), most=9)
    assert [row["id"] for row, _ in cases] == ["x-1"]


def test_ours_is_measured_on_the_rows_of_the_peer(tmp_path: Path) -> None:
    slow = {**ROW, "id": "x-2", "step_time_s": "40"}
    cases = estimators.sample(_table(tmp_path, [ROW, slow]), most=9)

    def peer(config: RunConfig) -> Answer:
        return Answer(None, 11.0)

    def half_ours(config: RunConfig) -> Answer:
        return Answer(None, 12.0)

    found = estimators.summary(estimators.ask(peer, cases), estimators.ask(half_ours, cases[:1]) * 2, cases)
    assert found["answered"] == 2
    assert found["memory"] is None
    assert found["step_time"] == {"rows": 2, "median_abs_pct": 41.2, "p90_abs_pct": 72.5, "median_pct": -31.2}
    assert found["step_time_of_trainworthy_on_the_same_rows"]["rows"] == 2


def test_a_peer_that_cannot_answer_says_why(tmp_path: Path) -> None:
    ((_, config),) = estimators.sample(_table(tmp_path, [ROW]), most=9)
    tools = peers(None)
    for name, reason in {"calculon": "no source tree", "deepspeed": "ZeRO 2 and 3", "accelerate": "one GPU"}.items():
        with pytest.raises(CannotAnswerError, match=reason):
            tools[name](config)
    null = tools["null model"](config)
    assert null.memory_bytes is None
    assert null.step_s == pytest.approx(10, rel=0.6)


def test_ours_answers_both(tmp_path: Path) -> None:
    ((_, config),) = estimators.sample(_table(tmp_path, [ROW]), most=9)
    answer = estimators.ours(config)
    assert answer.memory_bytes
    assert answer.step_s
