"""What the comparison of memory on one GPU counts, on rows that were made up."""

from __future__ import annotations

import pytest
from benchmarks.single_gpu_memory import WITHOUT_NOTE, compare_memory, contradictions

_EMPTY = dict.fromkeys(
    ("framework", "grad_accum", "seq_len_or_img", "method", "throughput", "throughput_unit", "step_time_ms",
     "gpu_memory_gb"), "",
)  # fmt: skip


def _row(number: str, gpu: str, batch: int, used_gib: float, model: str = "resnet50") -> dict[str, str]:
    return {
        **_EMPTY, "id": number, "model": model, "task": "train", "gpu": gpu, "num_gpus": "1", "precision": "fp32",
        "batch_per_gpu": str(batch), "peak_memory_gb": str(used_gib), "memory_kind": "max nvidia-smi memory.used GiB",
        "status": "ok", "note": "batches were chosen to fill the card",
    }  # fmt: skip


def test_a_step_that_ran_on_a_smaller_card_does_not_need_what_a_larger_one_showed() -> None:
    rows = [_row("small", "2080Ti", 64, 10.0), _row("large", "V100", 64, 30.0), _row("wider", "V100", 128, 30.0)]
    found = contradictions(rows)
    assert [(c["id"], c["there"]) for c in found] == [("large", "small")]
    assert found[0]["ran_with_gib"] == pytest.approx(10.6, abs=0.1)


def test_a_row_that_took_less_than_the_smaller_card_has_contradicts_nothing() -> None:
    assert not contradictions([_row("small", "2080Ti", 64, 10.0), _row("large", "V100", 64, 9.0)])


def test_rows_that_fill_the_card_are_also_counted_without_their_note() -> None:
    rows = [_row("a", "V100", 296, 31.6), _row("b", "V100", 20, 29.7, model="transformerxlbase")]
    memory = compare_memory(rows)
    assert memory["by_kind"][WITHOUT_NOTE]["rows"] == 2
    assert set(memory["without_note_by_model"]) == {"resnet50", "transformerxlbase"}
