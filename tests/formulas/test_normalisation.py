from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import FormulaError
from trainworthy.formulas.normalisation import (
    NO_VALUES,
    NOTHING_SEEN,
    memory_passes,
    merge_moments,
    merge_softmax,
    normalisation_bytes,
    online_softmax,
    welford,
)

values_of = st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=50)


@given(values_of)
def test_the_online_softmax_is_softmax(values: list[float]) -> None:
    maximum, total = online_softmax(values=values)
    mine = [math.exp(value - maximum) / total for value in values]
    expected = torch.softmax(torch.tensor(values, dtype=torch.float64), 0)
    np.testing.assert_allclose(mine, expected.numpy(), rtol=1e-10, atol=1e-300)


@given(values_of, values_of)
def test_parts_can_be_joined_in_any_order(one: list[float], other: list[float]) -> None:
    whole = online_softmax(values=one + other)
    for first, second in ((one, other), (other, one)):
        joined = merge_softmax(one=online_softmax(values=first), other=online_softmax(values=second))
        assert joined == pytest.approx(whole)
    assert online_softmax(values=other, state=online_softmax(values=one)) == whole
    moments = merge_moments(one=welford(values=one), other=welford(values=other))
    assert moments == pytest.approx(welford(values=one + other), rel=1e-6, abs=1e-6)


def test_masked_and_empty_parts_change_nothing() -> None:
    seen = online_softmax(values=[1.0, 2.0])
    assert online_softmax(values=[-math.inf], state=seen) == pytest.approx(seen)
    assert online_softmax(values=[-math.inf]) == NOTHING_SEEN
    assert merge_softmax(one=NOTHING_SEEN, other=NOTHING_SEEN) == NOTHING_SEEN
    assert merge_softmax(one=seen, other=NOTHING_SEEN) == pytest.approx(seen)
    assert merge_moments(one=NO_VALUES, other=NO_VALUES) == NO_VALUES
    assert math.isnan(NO_VALUES.variance)


@given(values_of)
def test_welford_is_layer_norm_s_variance(values: list[float]) -> None:
    moments = welford(values=values)
    assert moments.num_values == len(values)
    assert moments.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert moments.variance == pytest.approx(np.var(values), rel=1e-9, abs=1e-9)


def test_welford_keeps_the_digits_that_sums_of_squares_lose() -> None:
    values = [1e9 + step for step in (4.0, 7.0, 13.0, 16.0)]
    naive = sum(v * v for v in values) / 4 - (sum(values) / 4) ** 2
    assert welford(values=values).variance == 22.5
    assert naive != pytest.approx(22.5, rel=0.1)


def test_passes_of_the_literature() -> None:
    # Milakov and Gimelshein 2018: 4 accesses an element become 3 with the online algorithm.
    assert sum(memory_passes(kind="softmax", algorithm="safe")) == 4
    assert sum(memory_passes(kind="softmax", algorithm="online")) == 3
    assert sum(memory_passes(kind="softmax", algorithm="naive")) == 3
    assert normalisation_bytes(rows=2, columns=3, kind="layer_norm", algorithm="welford", bytes_per_element=4) == 72
    for kind in ("softmax", "layer_norm", "rms_norm"):
        assert memory_passes(kind=kind, algorithm="fused") == (1, 1)


def test_nonsense_is_refused() -> None:
    with pytest.raises(FormulaError, match="kind is 'batch_norm'"):
        memory_passes(kind="batch_norm", algorithm="fused")
    with pytest.raises(FormulaError, match="naive, safe, online, fused"):
        memory_passes(kind="softmax", algorithm="welford")
    with pytest.raises(FormulaError, match="rows is -1"):
        normalisation_bytes(rows=-1, columns=3, kind="softmax", algorithm="fused", bytes_per_element=4)
