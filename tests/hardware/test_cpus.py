from __future__ import annotations

import datetime
from pathlib import Path

import pytest

import trainworthy.hardware
from trainworthy.errors import HardwareRowError, UnknownCpuError
from trainworthy.hardware import cpu_row, cpu_rows
from trainworthy.hardware.cpus import load_cpu

FOLDER = Path(trainworthy.hardware.__file__).parent / "cpus"
EPYC = (FOLDER / "epyc-7763.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.toml")))
def test_each_row_has_sources_a_date_and_names(name: str) -> None:
    cpu = cpu_row(name)
    assert cpu.sources
    assert datetime.date.fromisoformat(cpu.checked) >= datetime.date(2026, 1, 1)
    for other in (cpu.id, *cpu.names):
        assert cpu_row(other.upper()) is cpu
    assert cpu.peak_tflops("fp32") is not None
    assert cpu.peak_tflops("fp8") is None


def test_goldens_by_hand() -> None:
    # 64 cores x 32 FLOP x 2.45 GHz; 8 channels x 3200 MT/s x 8 bytes.
    epyc = cpu_row("epyc-7763")
    assert epyc.peak_tflops("fp32") == pytest.approx(5.02, abs=0.005)
    assert epyc.memory_gb_per_s == 204.8
    # Two AVX-512 FMA units: 2 units x 16 lanes x 2.
    assert cpu_row("xeon-8480plus").flop_per_clock_per_core["fp32"] == 64


def test_an_unknown_cpu_lists_the_rows() -> None:
    with pytest.raises(UnknownCpuError) as caught:
        cpu_row("EPYC")
    for known in cpu_rows():
        assert known in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("fp32 = 5.02", "fp32 = 10.04", "fp32 says 10.04 but the row implies 5.018"),
        ("gb_per_s = 204.8", "gb_per_s = 409.6", "the row implies 204.8"), ("channels = 8\n", "", "channels"),
        ('id = "epyc-7763"', 'id = "epyc-7764"', "not the name of the file"), ("cores = 64", "colour = 64", "colour"),
        ("fp32 = 32\n", "", "same types"), ("[memory]", "[memory", "Cannot be read"),
        ("cores = 64", "cores = 0", "says"),
        ("fp64 =", "fp48 =", "Unknown type 'fp48'"), ("cores = 64", 'cores = "many"', "wrong type"),
    ],
)  # fmt: skip
def test_a_row_that_contradicts_itself_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in EPYC
    path = tmp_path / "epyc-7763.toml"
    path.write_text(EPYC.replace(old, new), encoding="utf-8")
    with pytest.raises(HardwareRowError, match=message):
        load_cpu(path)
