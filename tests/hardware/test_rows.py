from __future__ import annotations

import datetime
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import trainworthy.hardware
from trainworthy.errors import HardwareRowError, UnknownGpuError
from trainworthy.hardware import Gpu, gpu_row, gpu_rows
from trainworthy.hardware.rows import index_names, load_gpu

FOLDER = Path(trainworthy.hardware.__file__).parent / "gpus"
H100 = (FOLDER / "h100-sxm-80gb.toml").read_text(encoding="utf-8")


@pytest.fixture(params=sorted(path.stem for path in FOLDER.glob("*.toml")))
def gpu(request: pytest.FixtureRequest) -> Gpu:
    return gpu_row(request.param)


def test_each_row_loads_with_sources_and_a_date(gpu: Gpu) -> None:
    assert gpu.sources
    assert gpu.memory_bytes_source
    assert datetime.date.fromisoformat(gpu.checked) >= datetime.date(2026, 1, 1)
    assert gpu.name == gpu.names[0]
    assert 0 < gpu.usable_memory_bytes < gpu.memory_bytes


def test_each_row_is_found_by_every_driver_name(gpu: Gpu) -> None:
    for name in gpu.names:
        assert gpu_row(name) is gpu
        assert gpu_row(name.upper()) is gpu
    assert gpu_row(f"  {gpu.id.upper()} ") is gpu


def test_each_row_has_the_types_of_its_architecture(gpu: Gpu) -> None:
    assert gpu.peak_tflops("fp32") is not None
    assert gpu.peak_tflops("fp16") is not None
    assert (gpu.peak_tflops("bf16") is not None) == gpu.supports_bf16
    assert (gpu.peak_tflops("tf32") is not None) == gpu.supports_tf32
    assert gpu.peak_tflops("int3") is None


def test_a_row_can_be_sent_to_another_process(gpu: Gpu) -> None:
    assert pickle.loads(pickle.dumps(gpu)) == gpu
    assert hash(gpu) == hash(gpu_row(gpu.id))


def test_the_rows_the_design_names_are_there() -> None:
    wanted = {"h100-sxm-80gb", "a100-sxm-80gb", "v100-sxm2-16gb", "h200-sxm-141gb", "rtx-3090-24gb"}
    assert wanted <= gpu_rows().keys()


@pytest.mark.parametrize(
    ("gpu_id", "memory_gib"),
    # What PyTorch prints as "total capacity" in out-of-memory messages on those cards, in public issues.
    [("a10-pcie-24gb", 21.99), ("a100-sxm-80gb", 79.15), ("h100-nvl-94gb", 93.00), ("rtx-3090-24gb", 23.67)],
)
def test_memory_is_what_out_of_memory_messages_show(gpu_id: str, memory_gib: float) -> None:
    assert gpu_row(gpu_id).memory_bytes / 2**30 == pytest.approx(memory_gib, abs=0.006)


@pytest.mark.parametrize("name", ["h100", "NVIDIA H100", "gtx-9999", "", "A100"])
def test_an_unknown_name_lists_the_rows_and_guesses_nothing(name: str) -> None:
    with pytest.raises(UnknownGpuError) as caught:
        gpu_row(name)
    for gpu_id in gpu_rows():
        assert gpu_id in caught.value.message
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("h100-sxm-80", "h100-sxm-80gb?"), ("h200", "h200-sxm-141gb?"), ("NVIDIA H100 80GB HBM", "h100-sxm-80gb?")],
)
def test_an_unknown_name_gets_a_hint(name: str, hint: str) -> None:
    with pytest.raises(UnknownGpuError) as caught:
        gpu_row(name)
    assert caught.value.fix is not None
    assert f"Did you mean {hint}" in caught.value.fix


def test_changing_the_returned_dict_changes_nothing() -> None:
    gpu_rows().clear()
    assert gpu_rows()


def test_two_rows_may_not_claim_one_name(tmp_path: Path) -> None:
    path = tmp_path / "h100-copy-80gb.toml"
    path.write_text(H100.replace('id = "h100-sxm-80gb"', 'id = "h100-copy-80gb"'), encoding="utf-8")
    with pytest.raises(HardwareRowError, match="claimed by two rows"):
        index_names([gpu_row("h100-sxm-80gb"), load_gpu(path)])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "h100-sxm-80gb"', 'id = "h100-sxm-96gb"', "not the name of the file"),
        ("sm_count = 132\n", "", "'sm_count'"),
        ('compute_capability = "9.0"', 'compute_capability = "9.9"', "'9.9'"),
        ("[clock]", "[clock", "Cannot be read"),
        ("gb_per_s_per_direction = 450", "gb_per_s = 450", "gb_per_s"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in H100
    path = tmp_path / "h100-sxm-80gb.toml"
    path.write_text(H100.replace(old, new), encoding="utf-8")
    with pytest.raises(HardwareRowError, match=message) as caught:
        load_gpu(path)
    assert str(path) in str(caught.value)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HardwareRowError, match="Cannot be read"):
        load_gpu(tmp_path / "absent.toml")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HardwareRowError, match="Cannot be read"):
        load_gpu(path)


def test_reading_rows_does_not_import_torch() -> None:
    code = "import sys, trainworthy.hardware as h; h.gpu_row('h100-sxm-80gb'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(FOLDER.parents[2])})


def test_rows_of_one_name_are_one_part() -> None:
    # A die of an MI250X is what PyTorch sees; AMD's figures are for two.
    die, pair_tflops = gpu_row("mi250x-gcd-64gb"), 383
    assert die.vendor == "AMD"
    assert die.peak_tflops("bf16") == pair_tflops / 2
    assert die.architecture.warp_size == 64
    assert die.architecture is not gpu_row("h100-sxm-80gb").architecture  # both report capability 9.0
    assert not die.supports_tf32
    assert gpu_row("mi300x-oam-192gb").supports_tf32


def test_published_errors_are_not_in_the_rows() -> None:
    # Figures that public tables have and that the cross-check would refuse, or that hide a factor of 2.
    assert gpu_row("l4-pcie-24gb").memory_gb_per_s == 300  # torch 2.13: 3350
    assert gpu_row("l4-pcie-24gb").peak_tflops("bf16") == 121  # torch 2.13: 242, sparse
    assert gpu_row("a10g-pcie-24gb").memory_gb_per_s == 600  # AutoParallel: 933, that of the A30
    assert gpu_row("h200-sxm-141gb").memory_gb_per_s == 4800  # a table: 3360, that of the H100
    assert gpu_row("rtx-3090-24gb").peak_tflops("bf16") == 71.2  # Lightning: 35.6, without tensor cores
