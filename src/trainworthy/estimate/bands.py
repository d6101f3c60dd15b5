"""How far an estimate may be off, and what that stands on."""

from __future__ import annotations

from typing import NamedTuple

from trainworthy.estimate.costs import Factors
from trainworthy.estimate.machine import Machine

__all__ = ["Band", "band_of"]


class Band(NamedTuple):
    """Factors of the fast and of the slow end, and why they are what they are."""

    fast: Factors
    slow: Factors
    data: tuple[float, float]
    why: str


# A calibrated machine: kernels that were not measured themselves, clocks that change with temperature, another load on
# the host. What `benchmarks/step_time.py` aims at: half of the steps within 10 %, nine in ten within 25 %.
_CALIBRATED = (Factors(device=0.85, host=0.80, network=0.75), Factors(device=1.20, host=1.30, network=1.40))
# A machine known by its row only. One constant for all of published training runs is 12 to 37 % off from source to
# source; hosts differ by a factor of two.
_BY_ROW = (Factors(device=0.75, host=0.60, network=0.70), Factors(device=1.35, host=1.80, network=1.50))
_USUAL_DRIFT = 0.1  # within the range as it is
_DATA = (0.6, 2.0)  # the computer that trains has another processor and disk than the one that rehearsed


def band_of(machine: Machine) -> Band:
    """Return the band for a machine."""
    calibration = machine.calibration
    if calibration is not None:
        why = (
            f"kernels and host measured on {calibration.device_name} on {calibration.date} with torch "
            f"{calibration.torch_version}; the range is -15 to +20 % for kernels"
        )
        drift = calibration.pace_drift or 0.0
        if drift <= _USUAL_DRIFT:
            return Band(*_CALIBRATED, _DATA, why)
        why += f", wider here because the machine's pace moved by {drift:.0%} while it was measured"
        return Band(_moved(_CALIBRATED[0], 1 / (1 + drift / 2)), _moved(_CALIBRATED[1], 1 + drift / 2), _DATA, why)
    what = "GPU" if machine.kind == "gpu" else "CPU"
    why = (
        f"not calibrated: rates are documented shares of the {what} row's peaks; the range is -25 to +35 % for kernels "
        "and wider for the host (`trainworthy calibrate` on the machine narrows it)"
    )
    return Band(*_BY_ROW, _DATA, why)


def _moved(factors: Factors, by: float) -> Factors:
    """Widen an end by what the machine itself may do until the step is run: the network is another matter."""
    return factors._replace(device=factors.device * by, host=factors.host * by)
