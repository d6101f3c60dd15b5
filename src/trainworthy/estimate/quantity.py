"""A number that is not certain: a lowest, an expected and a highest value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Quantity", "exactly", "largest", "maybe_product", "maybe_ratio", "total"]


class Quantity(NamedTuple):
    """A value with the range in which it is expected to lie; `low <= expected <= high`.

    The range is an expectation, not a guarantee; what it stands on is said by the result that holds the quantity.
    The unit is that of the attribute that holds it (`step_s`, `peak_bytes`).
    """

    low: float
    expected: float
    high: float

    def plus(self, other: Quantity) -> Quantity:
        """The sum if both err in the same direction, which is the widest range (errors of one machine correlate)."""
        return Quantity(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def times(self, factor: float) -> Quantity:
        """The quantity scaled by a known factor that is not negative.

        Raises:
            ValueError: The factor is negative, which would turn the range around.
        """
        if factor < 0:
            raise ValueError(f"a quantity is scaled by a factor that is not negative, not by {factor}")
        return Quantity(self.low * factor, self.expected * factor, self.high * factor)

    def per(self, amount: float) -> Quantity:
        """`amount` divided by the quantity: a rate from a time; the slowest time gives the lowest rate.

        Raises:
            ZeroDivisionError: The lowest value is 0.
        """
        return Quantity(amount / self.high, amount / self.expected, amount / self.low)

    def widened(self, *, low: float, high: float) -> Quantity:
        """The range with its lower end multiplied by `low` (<= 1) and its upper end by `high` (>= 1)."""
        return Quantity(self.low * low, self.expected, self.high * high)


def exactly(value: float) -> Quantity:
    """A quantity that is certain."""
    return Quantity(value, value, value)


def total(quantities: Iterable[Quantity]) -> Quantity:
    """The sum of quantities that err in the same direction; 0 of none."""
    result = exactly(0.0)
    for quantity in quantities:
        result = result.plus(quantity)
    return result


def largest(first: Quantity, *others: Quantity) -> Quantity:
    """The largest of quantities, end by end (of times that overlap, the one that decides)."""
    result = first
    for other in others:
        result = Quantity(
            max(result.low, other.low), max(result.expected, other.expected), max(result.high, other.high)
        )
    return result


def maybe_product(quantity: Quantity | None, factor: float | None) -> Quantity | None:
    """The product, or None where either is unknown."""
    return None if quantity is None or factor is None else quantity.times(factor)


def maybe_ratio(amount: float | None, quantity: Quantity | None) -> Quantity | None:
    """`amount` per quantity, or None where either is unknown or the quantity may be 0."""
    return None if amount is None or quantity is None or quantity.low <= 0 else quantity.per(amount)
