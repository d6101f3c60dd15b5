"""Refuse values that a formula is not defined for, by name and value."""

from __future__ import annotations

import math

from trainworthy.errors import FormulaError


def require_whole(least: int, **values: object) -> None:
    """Refuse what is not a whole number of at least ``least``.

    >>> require_whole(1, ranks=8, steps=1)
    >>> require_whole(1, ranks=0)
    Traceback (most recent call last):
    ...
    trainworthy.errors.FormulaError: ranks is 0; it must be a whole number of at least 1.

    Raises:
        FormulaError: With the name and the value of the argument.
    """
    for name, value in values.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise FormulaError(name, value, f"a whole number of at least {least}")


def require_positive(**values: float) -> None:
    """Refuse what is not a finite number above 0.

    Raises:
        FormulaError: With the name and the value of the argument.
    """
    for name, value in values.items():
        if not _is_number(value) or value <= 0:
            raise FormulaError(name, value, "a finite number above 0")


def require_not_negative(**values: float) -> None:
    """Refuse what is not a finite number of at least 0.

    Raises:
        FormulaError: With the name and the value of the argument.
    """
    for name, value in values.items():
        if not _is_number(value) or value < 0:
            raise FormulaError(name, value, "a finite number of at least 0")


def require_fraction(**values: float) -> None:
    """Refuse what does not lie between 0 and 1, both included.

    Raises:
        FormulaError: With the name and the value of the argument.
    """
    for name, value in values.items():
        if not _is_number(value) or not 0 <= value <= 1:
            raise FormulaError(name, value, "a number between 0 and 1")


def require_one_of(known: tuple[str, ...], **values: str) -> None:
    """Refuse a word that is not one of ``known``.

    Raises:
        FormulaError: With the name, the value and the known words.
    """
    for name, value in values.items():
        if value not in known:
            raise FormulaError(name, value, f"one of {', '.join(known)}")


def require_divisible(by: str, divisor: int, *, fix: str | None = None, **values: int) -> None:
    """Refuse what ``divisor`` does not divide; ``by`` is the name of the divisor.

    >>> require_divisible("ranks", 4, payload_bytes=10)
    Traceback (most recent call last):
    ...
    trainworthy.errors.FormulaError: payload_bytes is 10; it must be divisible by ranks = 4.

    Raises:
        FormulaError: With the name and the value of the argument.
    """
    for name, value in values.items():
        if value % divisor:
            raise FormulaError(name, value, f"divisible by {by} = {divisor}", fix=fix)


def ceil_div(numerator: int, denominator: int) -> int:
    """Divide whole numbers and round up, exactly.

    >>> ceil_div(7, 2), ceil_div(8, 2), ceil_div(0, 5)
    (4, 4, 0)
    """
    return -(-numerator // denominator)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
