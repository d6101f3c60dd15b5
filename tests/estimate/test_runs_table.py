from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.estimate.run_config import MEASURED_COLUMNS
from trainworthy.estimate.runs_table import (
    PREDICTED_COLUMNS,
    predict_row,
    predict_table,
    source_error,
    source_of,
    weighted_median_error,
)
from trainworthy.report.runs_text import render_runs

# Two rows of mosaicml/llm-foundry, scripts/train/benchmarking/README.md, and one of NVIDIA/dgxc-benchmarking, llama3.1.
FOUNDRY = {
    "id": "foundry-037", "model": "MPT-7b", "layers": "32", "hidden": "4096", "ffn_hidden": "16384", "heads": "32",
    "kv_heads": "32", "vocab": "50368", "params_b": "6.684025", "seq_len": "8192", "global_batch": "128",
    "micro_batch": "8", "gpu": "H100 SXM", "gpu_memory_gb": "80", "num_gpus": "8", "gpus_per_node": "8", "dp": "8",
    "zero_stage": "FSDP full (ZeRO-3)", "tp": "1", "pp": "1", "cp": "1", "activation_checkpointing": "full",
    "precision": "amp_bf16", "compile_flash": "flash-attention (yaml attn_impl: flash)",
    "tflops_convention": "model (6N+12*L*h*s)*tok/s", "mfu": "0.3714", "tokens_per_s_per_gpu": "6935", "status": "ok",
    "source_url": "https://github.com/mosaicml/llm-foundry/blob/main/scripts/train/benchmarking/README.md",
}  # fmt: skip
DGXC = {
    "id": "dgxc2504-llama31-70b-13", "model": "Llama-3.1-70B", "layers": "80", "hidden": "8192", "ffn_hidden": "28672",
    "heads": "64", "kv_heads": "8", "vocab": "128256", "seq_len": "8192", "global_batch": "512", "micro_batch": "1",
    "gpu": "H100 SXM", "gpu_memory_gb": "80", "num_gpus": "256", "gpus_per_node": "8", "dp": "8", "tp": "4", "pp": "4",
    "cp": "2", "vp_interleave": "5", "precision": "bf16", "mfu": "0.5425", "step_time_s": "14.68", "status": "ok",
    "source_url": "https://github.com/NVIDIA/dgxc-benchmarking/blob/main/llama3.1/README.md",
}  # fmt: skip


def write(path: Path, *rows: dict[str, str]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_published_rows_are_met_within_their_sources_error() -> None:
    foundry, dgxc = predict_row(FOUNDRY), predict_row(DGXC)
    assert foundry.measured_step_s == pytest.approx(128 * 8192 / 8 / 6935)
    for found in (foundry, dgxc):
        assert found.step_s == pytest.approx(found.measured_step_s, rel=0.15)
        assert found.group == "stated"
    assert foundry.mfu == pytest.approx(0.3714 * foundry.measured_step_s / foundry.step_s, rel=0.01)  # type: ignore[operator]
    assert dgxc.mfu == pytest.approx(0.5425 * 14.68 / dgxc.step_s, rel=0.02)  # type: ignore[operator]


def test_a_table_is_written_with_its_predictions(tmp_path: Path) -> None:
    unknown = {**DGXC, "id": "mine-1", "gpu": "TPU v5", "source_url": ""}
    table = predict_table(write(tmp_path / "in.csv", FOUNDRY, DGXC, unknown), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["foundry-037", "dgxc2504-llama31-70b-13", "mine-1"]
    assert all(rows[0][name] for name in PREDICTED_COLUMNS[:4])
    assert rows[2]["predicted_step_time_s"] == rows[2]["predicted_fits"] == ""
    assert "TPU v5" in rows[2]["prediction_note"]
    assert [len(table.rows(group)) for group in ("stated", "assumed", None)] == [2, 0, 1]
    assert rows[0]["mfu"] == "0.3714"  # what was there stays


def test_measured_columns_change_no_prediction() -> None:
    other = {**FOUNDRY, **dict.fromkeys(MEASURED_COLUMNS, "123"), "status": "oom"}
    one, two = predict_row(FOUNDRY), predict_row(other)
    assert (one.step_s, one.mfu, one.peak_memory_gb, one.fits) == (two.step_s, two.mfu, two.peak_memory_gb, two.fits)


def test_a_row_without_a_micro_batch_is_counted_apart() -> None:
    found = predict_row({**DGXC, "micro_batch": ""})
    assert found.group == "assumed"
    assert "micro_batch 1" in found.note


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": "", "model": "my net"}, "my net"),
        ({"tp": "3"}, "does not divide"),
        ({"hidden": "1e30"}, "hidden is '1e30'"),
        ({"hidden": "1e11", "heads": "1"}, "no model is that large"),
        ({"seq_len": "-5"}, "seq_len"),
        ({"num_gpus": ""}, "num_gpus"),
        ({"global_batch": "99999999999999999999"}, "global_batch"),
    ],
)
def test_bad_rows_say_why(changes: dict[str, str], words: str) -> None:
    found = predict_row({**DGXC, **changes})
    assert found.step_s is None
    assert words in found.note


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(UsageError, match="No column gpu and num_gpus"):
        predict_table(tmp_path / "a.csv", tmp_path / "out.csv")
    with pytest.raises(UsageError, match="Cannot be read"):
        predict_table(tmp_path / "none.csv", tmp_path / "out.csv")
    with pytest.raises(UsageError, match="Cannot be written"):
        predict_table(write(tmp_path / "b.csv", DGXC), tmp_path / "no folder" / "out.csv")


def test_errors_weigh_sources_equally() -> None:
    found = source_error("a", [0.9, 1.0, 1.3])
    assert found.rows == 3
    assert found.median == pytest.approx(0.1)
    assert found.within_20 == pytest.approx(2 / 3)
    exact = replace(predict_row(DGXC), step_s=14.68)
    wrong = replace(predict_row(FOUNDRY), step_s=2.0, measured_step_s=1.0)
    assert weighted_median_error([exact] * 9 + [wrong] * 2) == 0  # one source each, so the smaller half decides
    assert weighted_median_error([exact] + [wrong] * 2 + [replace(wrong, source="third")]) == 1
    assert weighted_median_error([]) is None


def test_sources() -> None:
    assert source_of(FOUNDRY) == "mosaicml/llm-foundry"
    assert source_of({"source_url": "arXiv:2104.04473 Table 2"}) == "arXiv:2104.04473"


@pytest.mark.parametrize("width", [80, 140])
def test_the_summary_fits_the_terminal(tmp_path: Path, width: int) -> None:
    rows = [FOUNDRY, DGXC, {**DGXC, "micro_batch": ""}, {**DGXC, "gpu": "x" * 200}, {**DGXC, "status": "oom"}]
    text = render_runs(predict_table(write(tmp_path / "in.csv", *rows), tmp_path / "out.csv"), width=width)
    assert max(map(len, text.splitlines())) <= width
    for words in ("5 rows: 3 predicted", "mosaicml/llm-foundry", "out of memory", "No prediction"):
        assert words in text


ODD = st.sampled_from(
    ["", "-1", "0", "1e30", "abc", "nan", "inf", "1.5", "\u0661", "  8 ", "8,192", "8k", '"', "=1+1", "9" * 20, "None"]
)


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(sorted({*FOUNDRY, *DGXC} - {"id"})), ODD, max_size=4))
def test_no_row_breaks_a_table(changes: dict[str, str]) -> None:
    found = predict_row({**DGXC, **changes})
    if found.step_s is None:
        assert found.note.startswith("no prediction: ")
    else:
        assert 0 < found.step_s < 1e9
        assert found.fits in {"yes", "no", "unsure"}


@pytest.mark.parametrize("name", ["cp", "vocab", "ffn_hidden", "dp", "gpus_per_node", "kv_heads"])
def test_an_optional_column_that_cannot_be_read_is_refused(name: str) -> None:
    assert name in predict_row({**DGXC, name: "-1"}).note
    assert name in predict_row({**DGXC, name: "1e30"}).note
    assert predict_row({**DGXC, name: "None"}).step_s == predict_row({**DGXC, name: ""}).step_s


def test_words_that_are_not_understood_are_noted() -> None:
    assert "precision 'int3' is not understood" in predict_row({**DGXC, "precision": "int3"}).note
