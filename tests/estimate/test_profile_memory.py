"""Memory of programs that were recorded as they ran in 2020."""

from __future__ import annotations

import pytest

from trainworthy.estimate.profile_memory import RecordedMemory, recorded_memory
from trainworthy.estimate.profiles import profiled_step
from trainworthy.estimate.single_gpu import predict_single_gpu_row
from trainworthy.estimate.single_gpu_memory import eager_context_bytes, fits, memory_of
from trainworthy.estimate.single_gpu_tables import keeps_as_in_2020

ROW = {
    "model": "gnmt", "task": "train", "gpu": "V100", "num_gpus": "1", "precision": "fp32/tf32", "batch_per_gpu": "128",
    "framework": "PyTorch NGC 20.01/20.10 DeepLearningExamples", "grad_accum": "", "seq_len_or_img": "",
    "throughput_unit": "", "memory_kind": "max nvidia-smi memory.used GiB", "note": "",
}  # fmt: skip
STEP = profiled_step("gnmt", variant="train-fp32", batch=128)


@pytest.mark.parametrize("name", ["gnmt", "ncf", "tacotron2", "transformerxl_base", "transformerxl_large", "waveglow"])
@pytest.mark.parametrize("variant", ["train-fp32", "train-amp"])
def test_a_recorded_program_reserves_at_least_what_it_allocates_and_grows(name: str, variant: str) -> None:
    few, many = (recorded_memory(name, variant=variant, batch=batch) for batch in (16, 64))
    assert few is not None
    assert many is not None
    assert few.reserved_bytes >= few.allocated_bytes
    assert many.reserved_bytes >= few.reserved_bytes


def test_only_software_before_pytorch_1_11_keeps_as_in_2020() -> None:
    assert keeps_as_in_2020({"framework": "PyTorch NGC 21.10"})
    assert not keeps_as_in_2020({"framework": "PyTorch NGC 21.11"})
    assert not keeps_as_in_2020({"framework": "torchvision 0.9"})


def test_a_row_of_2020_has_the_reserved_memory_of_its_program_and_a_whole_context() -> None:
    recorded = recorded_memory("gnmt", variant="train-fp32", batch=128)
    assert recorded is not None
    found = predict_single_gpu_row(ROW).peak_memory_bytes
    assert found is not None
    assert found.expected == recorded.reserved_bytes + eager_context_bytes("v100-sxm2-32gb")
    newer = predict_single_gpu_row({**ROW, "framework": "PyTorch NGC 22.10"}).peak_memory_bytes
    assert newer is not None
    assert newer.expected != found.expected


def test_a_row_that_measured_tensors_has_the_allocated_memory() -> None:
    recorded = RecordedMemory(allocated_bytes=10 << 30, reserved_bytes=12 << 30)
    found = memory_of(STEP, gpu="v100-sxm2-32gb", kind="max_memory_allocated", recorded=recorded)
    assert found is not None
    assert found.expected == 10 << 30


@pytest.mark.parametrize(("allocated", "reserved", "answer"), [(10, 12, "yes"), (20, 34, "unsure"), (33, 34, "no")])
def test_segments_that_are_free_do_not_make_a_step_too_large(allocated: int, reserved: int, answer: str) -> None:
    recorded = RecordedMemory(allocated_bytes=allocated << 30, reserved_bytes=reserved << 30)
    assert fits(STEP, gpu="v100-sxm2-32gb", recorded=recorded) == answer
