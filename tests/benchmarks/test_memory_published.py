"""The benchmark of published memory: how rows are completed, counted and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.memory_published_page import MARK, page, write_page

from benchmarks import memory_published as benchmark


def _entry(
    name: str, *, predicted: float, measured: float | None, ran: bool = True, share: float = 0.5
) -> dict[str, Any]:
    return {
        "id": name, "model": "m", "gpu": "A100", "source": name.split("-", maxsplit=1)[0],
        "memory_kind": "nvidia-smi GB", "ran": ran, "measured_gb": measured, "predicted_gb": predicted,
        "low_gb": 0.9 * predicted,
        "high_gb": 1.1 * predicted, "fits": "yes", "share": share, "moment": "loss", "parts_gib": {"weights": 1.0},
        "states_memory_and_sharding": True,
    }  # fmt: skip


ENTRIES = [
    _entry("a-1", predicted=11, measured=10),
    _entry("a-2", predicted=10, measured=10),
    _entry("a-3", predicted=9, measured=10),
    _entry("a-4", predicted=20, measured=10),
    _entry("b-1", predicted=5, measured=10),
    _entry("b-2", predicted=5, measured=None, ran=False, share=1.2),
    _entry("b-3", predicted=5, measured=None, share=1.2),
]


def test_errors_by_source() -> None:
    found = benchmark.memory_errors(ENTRIES)
    assert found["a"]["rows"] == 4
    assert found["a"]["median_abs_pct"] == pytest.approx(10)
    assert found["a"]["p90_abs_pct"] == pytest.approx(100)
    assert (found["b"]["median_pct"], found["all"]["rows"]) == (-50, 5)
    assert found["a"]["in_range"] == 2


def test_verdicts_are_counted() -> None:
    found = benchmark.fit_counts(ENTRIES)["stated"]
    assert (found["rows"], found["ran"], found["right"], found["said_no_but_ran"]) == (7, 6, 6, 1)


def test_a_factor_is_learned_from_the_other_sources() -> None:
    found = benchmark.left_out(ENTRIES)
    assert found["a"]["factor"] == 2.0  # b is predicted at half
    assert found["b"]["factor"] == pytest.approx(0.955, abs=0.1)


def test_rows_are_completed_from_their_source_only() -> None:
    row = {"source_url": "https://github.com/huggingface/nanotron/blob/main/docs/x.svg", "grad_accum": "4",
           "micro_batch": "2", "num_gpus": "64", "tp": "2", "pp": "2", "cp": "1"}  # fmt: skip
    found = benchmark.completed(row)
    assert (found["seq_len"], found["global_batch"]) == ("4096", str(4 * 2 * 16))
    other = benchmark.completed({**row, "source_url": "https://github.com/a/b"})
    assert "seq_len" not in other
    bloom = benchmark.completed({"source_url": "", "note": "vocab ~250k", "hidden": "14336", "params_b": "176"})
    assert (bloom["vocab"], bloom["layers"]) == ("250880", "70")


def test_the_page_keeps_what_people_wrote(tmp_path: Path) -> None:
    content = {
        "sharded": benchmark.memory_errors(ENTRIES), "one_gpu": benchmark.memory_errors(ENTRIES, by="memory_kind"),
        "fits": benchmark.fit_counts(ENTRIES), "left_out_source": benchmark.left_out(ENTRIES),
        "halves": benchmark.halves(ENTRIES), "hardest": benchmark.hardest(ENTRIES), "not_predicted": {},
    }  # fmt: skip
    path = tmp_path / "page.md"
    path.write_text(f"# By hand\n\n{MARK}\nold\n", encoding="utf-8")
    write_page(path, content)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# By hand\n")
    assert "old" not in text
    assert "| a-4 | m | 10 | 20.0 | +100 % | loss | weights 1.0 |" in page(content)


def test_without_the_data_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["memory_published", "--data", str(tmp_path)])
    benchmark.main()
    assert "nothing was measured" in capsys.readouterr().out
