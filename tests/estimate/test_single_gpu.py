"""Rows of tables of one-GPU measurements: what cells mean, goldens with their sources, and laws."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainworthy.estimate.published_rates import GpuScales, published_rates
from trainworthy.estimate.single_gpu import StepParts, is_single_gpu_table, predict_single_gpu_row
from trainworthy.estimate.single_gpu_runs import predict_single_gpu_table
from trainworthy.estimate.single_gpu_tables import accumulation_of, batch_of, gpu_of, precision_of, workload_of
from trainworthy.hardware import gpu_rows

NVIDIA = "PyTorch NGC, NVIDIA DeepLearningExamples fork"
# Lambda, deeplearning-benchmark, pytorch-train-throughput-fp16.csv and -fp32.csv; ryujaehun, pytorch-gpu-benchmark.
GOLDENS = [
    ({"model": "resnet50", "gpu": "RTX 3090", "precision": "fp32/tf32", "batch_per_gpu": "224"}, 513.0),
    ({"model": "resnet50", "gpu": "A100 80GB PCIe", "precision": "fp32/tf32", "batch_per_gpu": "640"}, 1014.0),
    ({"model": "bert_base_squad", "gpu": "H100 80GB SXM5", "precision": "amp fp16", "batch_per_gpu": "320"}, 812.0),
    ({"model": "ssd", "gpu": "A100 80GB PCIe", "precision": "amp fp16", "batch_per_gpu": "448"}, 437.0),
]


@pytest.mark.parametrize(("row", "measured"), GOLDENS)
def test_published_throughput(row: dict[str, str], measured: float) -> None:
    found = predict_single_gpu_row({**row, "task": "train", "framework": NVIDIA, "num_gpus": "1"})
    assert found.throughput == pytest.approx(measured, rel=0.3)


def test_measured_columns_are_not_read() -> None:
    row = {**GOLDENS[0][0], "task": "train", "framework": NVIDIA}
    lies = {**row, "throughput": "1", "step_time_ms": "1", "peak_memory_gb": "1", "tflops": "1", "status": "oom"}
    assert predict_single_gpu_row(row) == predict_single_gpu_row(lies)


def test_several_gpus_do_more_but_not_more_than_their_number() -> None:
    row = {**GOLDENS[2][0], "task": "train", "framework": NVIDIA}
    one, eight = (predict_single_gpu_row({**row, "num_gpus": n}).throughput for n in ("1", "8"))
    assert one is not None
    assert eight is not None
    assert one < eight <= 8 * one


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "my own net"}, "no profile of the model 'my own net'"),
        ({"gpu": "Voodoo 3"}, "no hardware row for the GPU 'Voodoo 3'"),
        ({"precision": "fp7"}, "unknown precision 'fp7'"),
        ({"batch_per_gpu": ""}, "the batch is not stated"),
        ({"num_gpus": "many"}, "'many' is no number of GPUs"),
    ],
)
def test_a_row_that_cannot_be_predicted_says_why(change: dict[str, str], reason: str) -> None:
    found = predict_single_gpu_row({**GOLDENS[0][0], "task": "train", **change})
    assert found.step_time_s is None
    assert found.throughput is None
    assert reason in found.reason


_BAD = [
    "", "-1", "0", "1e30", "abc", "nan", "inf", "1.5", "\u0661", " 8 ", "8,192", "8k", '"', "99999999999999999999",
    "a and b", "1@", "/", "0 and 0",
]  # fmt: skip
_COLUMNS = [
    "model", "task", "gpu", "gpu_memory_gb", "num_gpus", "precision", "framework", "batch_per_gpu", "grad_accum",
    "seq_len_or_img", "throughput_unit", "memory_kind", "note",
]  # fmt: skip


@given(st.sampled_from(GOLDENS), st.dictionaries(st.sampled_from(_COLUMNS), st.sampled_from(_BAD), max_size=4))
@settings(deadline=None)
def test_whatever_a_row_holds_the_answer_is_a_number_or_a_reason(
    golden: tuple[dict[str, str], float], bad: dict[str, str]
) -> None:
    found = predict_single_gpu_row({**golden[0], "task": "train", "framework": NVIDIA, **bad})
    if found.step_time_s is None:
        assert found.reason
    else:
        assert 0 < found.step_time_s.low <= found.step_time_s.expected <= found.step_time_s.high < 1e9
        assert found.throughput is not None
        assert found.throughput > 0


def test_the_slower_of_host_and_device_decides() -> None:
    parts = StepParts(compute_s=2.0, memory_s=1.0, latency_s=0.5, host_s=1.0, backward_s=2.0, outside_s=0.25)
    assert parts.step_s() == 3.75
    assert parts.step_s(host_scale=10.0) == 10.25
    assert parts.step_s(scales=GpuScales(2.0, 0.5)) == 3.75
    assert parts.step_s(factor=2.0) == 7.25


def test_tables_are_known_by_their_columns() -> None:
    assert is_single_gpu_table(["id", "model", "gpu", "precision", "batch_per_gpu", "seq_len_or_img"])
    assert not is_single_gpu_table(["id", "model", "gpu", "precision", "layers", "hidden", "tp", "pp"])


@pytest.mark.parametrize(
    ("batch", "accumulation", "precision", "expected"),
    [
        ("128 and 256", "64 and 32", "tf32", 128), ("4096 and 4096", "128 and 64", "amp", 64),
        ("10@FP16, 4@TF32", "", "tf32", 4), ("10@FP16, 4@TF32", "", "amp", 10), ("10240/5120", "", "fp32", 5120),
        ("64k", "", "amp", 65536), ("", "", "amp", None), ("a lot", "", "amp", None),
    ],
)  # fmt: skip
def test_batches(batch: str, accumulation: str, precision: str, expected: int | None) -> None:
    assert batch_of({"batch_per_gpu": batch, "grad_accum": accumulation, "precision": precision}) == expected


def test_other_cells() -> None:
    assert accumulation_of({"grad_accum": "256 and 128", "precision": "tf32"}) == 256
    assert gpu_of({"gpu": "LambdaCloud 8xV100 16GB"}) == "v100-sxm2-16gb"
    assert gpu_of({"gpu": "A100 SXM4", "gpu_memory_gb": "40"}) == "a100-sxm-40gb"
    assert gpu_of({"gpu": "LambdaCloud_1xQuadroRTX6000"}) == "quadro-rtx-6000-24gb"
    half = precision_of({"precision": "pure fp16"})
    assert half is not None
    assert half.replaced_dtype == "float16"
    waves = workload_of({"model": "SpeechSynthesis/Tacotron2", "throughput_unit": "Number of samples used with TF32"})
    assert waves is not None
    assert waves.profile == "waveglow"


def test_scales_belong_to_gpus_that_have_rows_and_say_what_they_come_from() -> None:
    rates = published_rates()
    assert set(rates.gpus) <= set(gpu_rows())
    assert rates.rows
    assert all(0.3 < scale < 3 for scales in rates.gpus.values() for scale in scales)


def test_a_table_is_written_with_predictions(tmp_path: Path) -> None:
    table, out = tmp_path / "in.csv", tmp_path / "out.csv"
    table.write_text(
        "id,model,task,gpu,num_gpus,precision,batch_per_gpu,seq_len_or_img,throughput,status\n"
        "a-1,resnet50,train,RTX 3090,1,fp32/tf32,224,,513,ok\n"
        "a-2,nonsense,train,RTX 3090,1,fp32/tf32,224,,513,ok\n",
        encoding="utf-8",
    )
    found = predict_single_gpu_table(table, out)
    lines = out.read_text(encoding="utf-8").splitlines()
    assert "predicted_step_time_s" in lines[0]
    assert found.predictions[0].step_s is not None
    assert found.predictions[0].measured_step_s == pytest.approx(224 / 513)
    assert found.predictions[1].step_s is None
    assert "no profile" in lines[2]
