from __future__ import annotations

import pytest

from trainworthy.errors import UnknownGpuError
from trainworthy.estimate.run_gpu import _FAMILIES, generation, run_gpu
from trainworthy.hardware.rows import gpu_row, gpu_rows


def test_every_word_leads_to_a_row() -> None:
    for _, ids in _FAMILIES:
        for name in ids:
            assert gpu_row(name).id == name


def test_every_row_is_its_own_answer() -> None:
    for name, gpu in gpu_rows().items():
        assert run_gpu(name).gpu.id == name
        assert generation(gpu)


@pytest.mark.parametrize(
    ("words", "row"),
    [
        ("RTX 4090", "rtx-4090-24gb"), ("NVIDIA GeForce RTX 3090 Ti", "rtx-3090ti-24gb"), ("L40S", "l40s-pcie-48gb"),
        ("L40", "l40-pcie-48gb"), ("H100 PCIe", "h100-pcie-80gb"), ("h100_sxm", "h100-sxm-80gb"),
        ("A100 40GB", "a100-sxm-40gb"), ("V100-SXM2-16GB", "v100-sxm2-16gb"), ("A10G", "a10g-pcie-24gb"),
        ("MI325X", "mi325x-oam-256gb"), ("GB300", "b300-sxm-288gb"), ("GH200", "gh200-sxm-96gb"),
    ],
)  # fmt: skip
def test_what_tables_call_gpus(words: str, row: str) -> None:
    assert run_gpu(words).gpu.id == row


@pytest.mark.parametrize("words", ["", "TPU v4", "Gaudi2", "M2 Ultra", "H1000", "A1000"])
def test_nothing_is_guessed(words: str) -> None:
    with pytest.raises(UnknownGpuError):
        run_gpu(words)


def test_racks_and_limited_links() -> None:
    assert run_gpu("GB200").nvlink_domain == 72
    assert run_gpu("H100 SXM").nvlink_domain is None
    link = run_gpu("H800").gpu.gpu_link
    assert link is not None
    assert link.gb_per_s_per_direction == 200
