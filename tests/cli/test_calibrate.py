from __future__ import annotations

import json
from pathlib import Path

import pytest

from estimate.machines import fake_calibration
from trainworthy.calibrate import run as calibrate_run
from trainworthy.cli.calibrate import summary
from trainworthy.cli.main import main
from trainworthy.hardware.calibrations import load_calibration


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAINWORTHY_CONFIG", str(tmp_path))
    return tmp_path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    asked: dict[str, object] = {}

    def calibrate(**options: object) -> object:
        asked.update(options)
        return fake_calibration(notes="Others were busy.")

    monkeypatch.setattr(calibrate_run, "calibrate", calibrate)
    return asked


def test_what_is_measured_is_kept_and_shown(
    config: Path, measured: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--device", "cpu", "--threads", "2"]) == 0
    shown = capsys.readouterr().out
    assert "100 GFLOP/s" in shown
    assert "4.10 us a page" in shown
    assert "Others were busy." in shown
    assert (measured["device"], measured["threads"], measured["budget_s"]) == ("cpu", 2, 50.0)
    assert load_calibration(config / "calibrations" / "fake.toml").id == "fake"
    assert max(map(len, summary(fake_calibration()).splitlines())) <= 120


def test_json_has_everything(measured: dict[str, object], tmp_path: Path) -> None:
    goal = tmp_path / "out.json"
    assert main(["calibrate", "--device", "cpu", "--format", "json", "--output", str(goal)]) == 0
    content = json.loads(goal.read_text(encoding="utf-8"))
    assert content["schema_version"] == 1
    assert content["threads"] == 2
    assert content["path"].endswith("fake.toml")


def test_calibrations_are_listed(measured: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "--device", "cpu"]) == 0
    capsys.readouterr()
    assert main(["calibrate", "--list"]) == 0
    assert "fake  2026-11-01" in capsys.readouterr().out
    assert main(["calibrate", "--list", "--format", "json"]) == 0
    assert "fake" in [row["id"] for row in json.loads(capsys.readouterr().out)]


def test_a_gpu_that_is_not_there_is_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert main(["calibrate", "--device", "cuda"]) == 2
    assert "PyTorch sees no GPU" in capsys.readouterr().err


def test_threads_must_make_sense(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", "--threads", "0"])
    assert "from 1 to 4096" in capsys.readouterr().err


def test_the_budget_is_passed_on_and_must_make_sense(
    measured: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "--device", "cpu", "--budget", "20"]) == 0
    assert measured["budget_s"] == 20.0
    with pytest.raises(SystemExit):
        main(["calibrate", "--budget", "1"])
    assert "from 10 to 3600 seconds" in capsys.readouterr().err


def test_a_pace_that_moved_is_shown() -> None:
    assert "moved by 32% meanwhile" in summary(fake_calibration(pace_drift=0.32))
    assert "pace" not in summary(fake_calibration())


def test_missing_torch_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None)
    assert main(["calibrate", "--device", "cpu"]) == 2
    assert "needs PyTorch" in capsys.readouterr().err
