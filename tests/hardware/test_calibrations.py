from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from estimate.machines import fake_calibration
from trainworthy.errors import HardwareRowError
from trainworthy.hardware.calibration import Curve, RefillPoint, Sample
from trainworthy.hardware.calibrations import (
    calibration_rows,
    dump_calibration,
    load_calibration,
    save_calibration,
)

CURVES = {
    "mm/fp32": Curve(
        samples=(Sample((1.0, 2.5), 1e-6), Sample((3.0, 4.0), 2e-6)), weights=(0.1, -0.2), length_scales=(3.0, 6.0),
        mean_log_ratio=0.5, typical_error=0.1,
    ),
    "add:plain/fp32": Curve(samples=(Sample((1.0,), 1e-6),), length_scales=(1.0,)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAINWORTHY_CONFIG", str(tmp_path))
    return tmp_path


def test_a_calibration_is_read_as_it_was_written(config: Path) -> None:
    refill = (RefillPoint(1e6, 0.0, 2e-6), RefillPoint(1e8, 3e-5, 5e-5))
    before = fake_calibration(curves=CURVES, refill=refill, notes='a "busy" machine')
    after = load_calibration(save_calibration(before))
    for field in fields(before):
        assert getattr(after, field.name) == getattr(before, field.name), field.name


def test_the_users_calibrations_are_found(config: Path) -> None:
    assert "fake" not in calibration_rows()
    path = save_calibration(fake_calibration())
    assert path == config / "calibrations" / "fake.toml"
    assert calibration_rows()["fake"].threads == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("schema_version = 1", "schema_version = 99"), "version 99"),
        (("threads = 2", "treads = 2"), "treads"),
        (("weights = [0.1, -0.2]", "weights = [0.1]"), "one weight a sample"),
        (("[1000000.0, 10.0]", "[1000000.0, -10.0]"), "above 0"),
        (("threads = 2", "threads = "), "Cannot be read"),
    ],
)
def test_a_broken_calibration_is_refused(config: Path, change: tuple[str, str], message: str) -> None:
    text = dump_calibration(fake_calibration(curves=CURVES))
    assert change[0] in text
    path = config / "broken.toml"
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(HardwareRowError, match=message):
        load_calibration(path)
