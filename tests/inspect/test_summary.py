"""The stable machine interface: meanings of its fields."""

from __future__ import annotations

from typing import Any

import pytest

from report.tape_builder import MIB, TapeBuilder, small_training, unfolded
from trainworthy.inspect import advise, summarize
from trainworthy.tape.record import Collective, Tape

PROMISED = (
    "schema_version", "verdict", "gpu", "steps", "parameters", "flops_per_step", "model_flops_per_step", "macs_forward",
    "unknown_flop_ops", "moved_bytes_per_step", "peak_memory_bytes", "peak_step", "peak_phase", "peak_source",
    "memory_by_kind_bytes", "reserved_memory_bytes", "context_bytes", "usable_memory_bytes", "host_syncs_per_step",
    "collective_bytes_per_step", "assumptions", "findings", "error",
)  # fmt: skip


def test_every_promised_field_is_there_and_the_version_comes_first() -> None:
    found = summarize(small_training()).to_dict()
    assert set(PROMISED) <= set(found)
    assert next(iter(found)) == "schema_version"


def test_hand_counted_amounts() -> None:
    result = summarize(small_training(layers=3))
    # Forward 3 x 1000, loss 50, backward 3 x 2000; the pointwise ones are not in it.
    assert result.flops_per_step == 3 * 1000 + 50 + 3 * 2000
    assert result.model_flops_per_step == result.flops_per_step
    assert result.macs_forward == (3 * 1000 + 50) // 2
    assert result.pointwise_flops_per_step == 3 * 10 + 40
    assert result.unknown_flop_ops == {"item": 2}
    assert result.host_syncs_per_step == 1
    assert (result.steps, result.measured_step, result.parameters) == (2, 2, 4 << 20)
    assert result.usable_memory_bytes == (16 << 30) - 400 * MIB
    assert result.collective_bytes_per_step == 0


def test_recomputation_is_executed_but_not_the_models() -> None:
    builder = TapeBuilder()
    builder.op("mm", flops=100)
    builder.op("mm", flops=100, phase="recompute")
    builder.op("attention_backward", flops=250, recompute_flops=50, phase="backward")
    builder.op("mm", flops=999, phase="other")
    result = summarize(builder.build())
    assert (result.flops_per_step, result.model_flops_per_step, result.macs_forward) == (450, 300, 50)


def test_collectives_count_their_larger_side() -> None:
    builder = TapeBuilder()
    gather = Collective("all_gather", 0, 100, 200, "float32")
    builder.op("all_gather", collective=gather)
    builder.op("reduce", collective=gather._replace(kind="reduce_scatter", bytes_in=200, bytes_out=100))
    assert summarize(builder.build()).collective_bytes_per_step == 400


@pytest.mark.parametrize("size", [100, 512, 5 * MIB, 11 * MIB])
def test_kinds_add_up_to_the_peak(size: int) -> None:
    result = summarize(small_training(activation_bytes=size))
    assert sum(result.memory_by_kind_bytes.values()) == result.peak_memory_bytes
    assert sum(result.memory_by_group_bytes.values()) == result.peak_memory_bytes
    assert sum(h.total_bytes for h in result.held) == result.peak_memory_bytes
    # The card counts cuBLAS's workspace and whole blocks too; that is modelled and kept apart.
    assert result.max_memory_allocated_bytes is not None
    assert result.max_memory_allocated_bytes >= result.peak_memory_bytes + 8_519_680


def test_folding_changes_no_answer() -> None:
    tape = small_training(layers=8)
    folded, plain = summarize(tape).to_dict(), summarize(unfolded(tape)).to_dict()
    assert folded == plain


def test_fits_up_to_the_last_byte_of_the_card() -> None:
    tape = small_training()
    needed = summarize(tape).needed_memory_bytes
    exact = summarize(small_training(driver_memory_bytes=needed))
    assert exact.verdict == "fits"
    assert exact.needed_memory_bytes == needed


def test_too_small_a_card() -> None:
    result = summarize(small_training(driver_memory_bytes=440 * MIB))
    assert result.verdict == "does-not-fit"
    assert result.out_of_memory is not None
    assert result.out_of_memory["path"] == "train.py"
    assert "DOES NOT FIT" in advise(result).verdict
    assert "runs out" in advise(result).why[0]


def test_segments_are_given_back_before_memory_runs_out() -> None:
    builder = TapeBuilder()
    (a,) = builder.op("a", births=(("temporary", 60 * MIB),))
    builder.op("free", deaths=(a,))
    builder.op("b", births=(("temporary", 80 * MIB),))
    result = summarize(builder.build(gpu="g", driver_memory_bytes=100 * MIB, context_bytes=0))
    assert result.verdict == "fits"
    assert result.reserved_memory_bytes == 80 * MIB
    assert [f["code"] for f in result.findings] == ["TW702"]


def test_an_error_is_a_failure_and_an_unfinished_step_has_no_amounts() -> None:
    error = {"kind": "exception", "message": "RuntimeError: no", "path": "train.py", "line": 9}
    tape = small_training(complete=False, error=error)
    result = summarize(tape)
    assert result.verdict == "failed"
    assert (result.flops_per_step, result.macs_forward, result.host_syncs_per_step) == (None, None, None)
    assert result.steps == 0
    assert result.peak_memory_bytes > 0
    assert advise(result).verdict == "FAILED at train.py:9"


def test_a_recording_without_an_optimizer_has_amounts() -> None:
    builder = TapeBuilder(device="cpu", granularity_bytes=1)
    builder.op("mm", step=0, flops=8, births=(("temporary", 100),))
    result = summarize(builder.build())
    assert (result.flops_per_step, result.macs_forward, result.steps) == (8, 4, 0)
    assert (result.peak_memory_bytes, result.reserved_memory_bytes, result.verdict) == (100, None, "fits")


def test_an_empty_tape() -> None:
    error = {"kind": "missing-package", "message": "ModuleNotFoundError: x", "path": None, "line": None}
    empty = Tape(signatures=(), sources=(), modules=("",), classes=(), rows=(), segments=(), notes={"error": error})
    result = summarize(empty)
    assert (result.verdict, result.peak_memory_bytes, result.peak_source) == ("failed", 0, None)
    assert summarize(Tape(signatures=(), sources=(), modules=("",), classes=(), rows=(), segments=())).verdict == "fits"


def test_a_gpu_that_was_never_used_is_a_finding_once() -> None:
    builder = TapeBuilder(device="cpu", granularity_bytes=512)
    builder.op("mm", births=(("temporary", 100),))
    codes = [f["code"] for f in summarize(builder.build(gpu="g", driver_memory_bytes=1)).findings]
    assert codes == ["TW701"]
    known: list[dict[str, Any]] = [{"code": "TW701", "severity": "warning", "message": "m"}]
    assert len(summarize(builder.build(gpu="g", findings=known)).findings) == 1


def test_the_advice_names_the_place_of_the_peak() -> None:
    advice = advise(summarize(small_training()))
    assert advice.verdict.startswith("FITS")
    assert any("train.py:" in line for line in advice.why)
    assert advice.next
