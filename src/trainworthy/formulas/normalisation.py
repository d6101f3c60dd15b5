"""Passes over memory of softmax and normalisations, and the online algorithms that save some of them.

A row that fits in registers or shared memory is read once, whatever the algorithm; the passes below are those of a row
that does not, or of operations that are not fused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from trainworthy.formulas.arguments import require_one_of, require_whole

# (reads, writes) of each element of a row that does not fit on chip.
_PASSES: dict[tuple[str, str], tuple[int, int]] = {
    ("softmax", "naive"): (2, 1),  # sum of exponentials; divide. Overflows for large inputs
    ("softmax", "safe"): (3, 1),  # maximum; sum; divide
    ("softmax", "online"): (2, 1),  # maximum and sum together; divide
    ("layer_norm", "two_pass"): (3, 1),  # mean; variance; normalise
    ("layer_norm", "sum_of_squares"): (2, 1),  # sum and sum of squares together; cancels badly
    ("layer_norm", "welford"): (2, 1),  # mean and variance together, stably; normalise
    ("rms_norm", "two_pass"): (2, 1),  # mean square; normalise
    ("softmax", "fused"): (1, 1),
    ("layer_norm", "fused"): (1, 1),
    ("rms_norm", "fused"): (1, 1),
}


class OnlineSoftmax(NamedTuple):
    """Running maximum, and the sum of exp(x - maximum) so far."""

    maximum: float
    total: float


class Moments(NamedTuple):
    """Running number of values, mean, and sum of squared distances from the mean."""

    num_values: int
    mean: float
    squares: float

    @property
    def variance(self) -> float:
        """Return the variance that layer-norm uses (divided by the count, not by one less)."""
        return self.squares / self.num_values if self.num_values else math.nan


NOTHING_SEEN = OnlineSoftmax(-math.inf, 0.0)
NO_VALUES = Moments(0, 0.0, 0.0)


def memory_passes(*, kind: str, algorithm: str) -> tuple[int, int]:
    """Return how often each element is read and written.

    Unit:     (reads, writes) per element
    Exact?    for rows that do not fit on chip; "fused" for those that do
    Source:   Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018, sections 2 and 3; Welford 1962

    >>> memory_passes(kind="softmax", algorithm="safe"), memory_passes(kind="softmax", algorithm="online")
    ((3, 1), (2, 1))

    Raises:
        FormulaError: For a kind or algorithm that is not listed.
    """
    require_one_of(tuple(dict.fromkeys(name for name, _ in _PASSES)), kind=kind)
    require_one_of(tuple(way for name, way in _PASSES if name == kind), algorithm=algorithm)
    return _PASSES[kind, algorithm]


def normalisation_bytes(*, rows: int, columns: int, kind: str, algorithm: str, bytes_per_element: int) -> int:
    """Count bytes of a softmax or normalisation over the rows of a matrix; scale and shift of a row are left out.

    Shapes:   (rows, columns) -> (rows, columns)
    Unit:     bytes
    Exact?    as `memory_passes`
    Source:   as `memory_passes`

    >>> normalisation_bytes(rows=1000, columns=1000, kind="softmax", algorithm="safe", bytes_per_element=2)
    8000000

    Raises:
        FormulaError: If a size is negative, or as `memory_passes`.
    """
    require_whole(0, rows=rows, columns=columns, bytes_per_element=bytes_per_element)
    return rows * columns * bytes_per_element * sum(memory_passes(kind=kind, algorithm=algorithm))


def online_softmax(*, values: Sequence[float], state: OnlineSoftmax = NOTHING_SEEN) -> OnlineSoftmax:
    """Take more of a row into the running maximum and sum: the step that fused attention is made of.

    Shapes:   values (n,) of one row
    Unit:     that of the values, and 1
    Exact?    up to rounding; no exponential of a positive number is taken, so nothing overflows
    Source:   Milakov and Gimelshein 2018, algorithm 3

    >>> half = online_softmax(values=[1.0, 2.0])
    >>> maximum, total = online_softmax(values=[3.0], state=half)
    >>> round(math.exp(3.0 - maximum) / total, 4)
    0.6652
    """
    maximum, total = state
    for value in values:
        higher = max(maximum, value)
        if higher == -math.inf:
            continue  # a masked element: nothing has been seen yet
        total = total * math.exp(maximum - higher) + math.exp(value - higher)
        maximum = higher
    return OnlineSoftmax(maximum, total)


def merge_softmax(*, one: OnlineSoftmax, other: OnlineSoftmax) -> OnlineSoftmax:
    """Join the states of two parts of a row, in any order.

    Unit:     as `online_softmax`
    Exact?    up to rounding
    Source:   Milakov and Gimelshein 2018, section 3.1

    >>> merge_softmax(one=OnlineSoftmax(0.0, 1.0), other=OnlineSoftmax(0.0, 2.0))
    OnlineSoftmax(maximum=0.0, total=3.0)
    """
    maximum = max(one.maximum, other.maximum)
    if maximum == -math.inf:
        return OnlineSoftmax(maximum, 0.0)
    return OnlineSoftmax(
        maximum, one.total * math.exp(one.maximum - maximum) + other.total * math.exp(other.maximum - maximum)
    )


def welford(*, values: Sequence[float], state: Moments = NO_VALUES) -> Moments:
    """Take more values into running mean and variance, in one pass and without cancellation.

    Shapes:   values (n,)
    Unit:     that of the values
    Exact?    up to rounding
    Source:   Welford, "Note on a method for calculating corrected sums of squares and products", 1962

    >>> moments = welford(values=[1.0, 2.0, 3.0, 4.0])
    >>> moments.mean, moments.variance
    (2.5, 1.25)
    """
    count, mean, squares = state
    for value in values:
        count += 1
        distance = value - mean
        mean += distance / count
        squares += distance * (value - mean)
    return Moments(count, mean, squares)


def merge_moments(*, one: Moments, other: Moments) -> Moments:
    """Join the moments of two parts: what synchronised batch-norm does over ranks.

    Unit:     as `welford`
    Exact?    up to rounding
    Source:   Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979

    >>> merge_moments(one=welford(values=[1.0, 2.0]), other=welford(values=[3.0, 4.0]))
    Moments(num_values=4, mean=2.5, squares=5.0)
    """
    count = one.num_values + other.num_values
    if count == 0:
        return one
    distance = other.mean - one.mean
    return Moments(
        count,
        one.mean + distance * other.num_values / count,
        one.squares + other.squares + distance**2 * one.num_values * other.num_values / count,
    )
