from __future__ import annotations

from estimate.machines import fake_machine
from trainworthy.estimate.bands import band_of


def test_a_machine_whose_pace_moved_has_a_wider_range_and_says_why() -> None:
    steady, moved = band_of(fake_machine(pace_drift=0.05)), band_of(fake_machine(pace_drift=0.4))
    assert moved.slow.device == steady.slow.device * 1.2
    assert moved.fast.device == steady.fast.device / 1.2
    assert moved.slow.network == steady.slow.network
    assert "moved by 40%" in moved.why
    assert "moved" not in steady.why


def test_a_calibration_that_knows_of_no_drift_has_the_usual_range() -> None:
    assert band_of(fake_machine()) == band_of(fake_machine(pace_drift=0.1))
