"""What cold data and cold host code cost: from made-up times the known costs come back; real ones are sane."""

from __future__ import annotations

from typing import Any

import pytest

from trainworthy.calibrate.cold import DISTANCES_BYTES, ColdCosts

MIB = 1 << 20


class _MadeUp(ColdCosts):
    """Host calls take 5 us, and 40 us more beyond 8 MiB; a byte 10 ps more beyond 2 MiB, far ones 4 ps beyond 96.

    Products take 60 us more beyond 24 MiB, convolutions 90 us.
    """

    def _after(self, pair: Any, kernel: Any, distance_bytes: int) -> tuple[float, float]:
        host_s = 5e-6 + (40e-6 if distance_bytes > 8 * MIB else 0.0)
        far = kernel is pair.far
        per_byte = 10e-12 if distance_bytes >= 2 * MIB and not far else 0.0
        per_byte += 4e-12 if distance_bytes > 96 * MIB else 0.0
        once_s = {id(self._pairs["product"]): 60e-6, id(self._pairs["convolution"]): 90e-6}.get(id(pair), 0.0)
        once_s += 10e-12 * kernel.moved_bytes if once_s and far else 0.0  # what small kernels pay at a distance
        return host_s, 1e-3 + per_byte * kernel.moved_bytes + (once_s if distance_bytes > 24 * MIB else 0.0)


def test_costs_come_back_from_made_up_times() -> None:
    cold = _MadeUp()
    for _ in range(3):
        cold.sample()
    refill = {point.distance_bytes / MIB: point for point in cold.refill()}
    assert refill[8.0].op_s == 0.0
    assert refill[12.0].op_s == refill[256.0].call_s == pytest.approx(40e-6)
    assert refill[24.0].product_s == refill[24.0].convolution_s < 1e-5
    assert refill[48.0].product_s == pytest.approx(60e-6)
    assert refill[48.0].convolution_s == pytest.approx(90e-6)
    reuse = {point.distance_bytes / MIB: point.s_per_byte for point in cold.reuse()}
    assert reuse[1.0] == 0.0
    assert reuse[2.0] == reuse[96.0] == pytest.approx(10e-12)
    assert reuse[256.0] == pytest.approx(14e-12)


def test_an_odd_sample_does_not_count() -> None:
    cold = _MadeUp()
    for _ in range(4):
        cold.sample()
    expected = cold.reuse(), cold.refill()
    for samples in cold._samples.values():
        samples[0] = (1.0, 1.0, 1.0)
    assert (cold.reuse(), cold.refill()) == expected


def test_real_calls_are_timed_at_every_distance() -> None:
    cold = ColdCosts()
    cold.sample()
    assert [point.distance_bytes for point in cold.reuse()] == list(DISTANCES_BYTES)
    assert all(point.s_per_byte >= 0 for point in cold.reuse())
    assert all(min(point[1:]) >= 0 for point in cold.refill())
