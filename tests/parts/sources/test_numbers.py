"""Names of numbers, against their value read back by other rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.parts.sources.numbers import END, START, NumberNames, decode, encode, number_words

SMALL = dict(zip((
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
), range(20), strict=True))  # fmt: skip
TENS = dict(zip(
    ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"), range(20, 100, 10), strict=True,
))  # fmt: skip


def value_of(words: list[str]) -> int:
    total = part = 0
    for word in words:
        if word == "thousand":
            total, part = part * 1000, 0
        elif word == "hundred":
            part *= 100
        else:
            part += {**SMALL, **TENS}[word]
    return total + part


@given(value=st.integers(0, 999_999))
def test_a_name_says_its_number(value: int) -> None:
    assert value_of(number_words(value)) == value
    assert decode(encode(number_words(value))) == " ".join(number_words(value))


def test_names_by_hand() -> None:
    nines = "nine hundred ninety nine"
    names = {
        0: "zero", 13: "thirteen", 40: "forty", 100: "one hundred", 1_000: "one thousand",
        700_015: "seven hundred thousand fifteen", 999_999: f"{nines} thousand {nines}",
    }  # fmt: skip
    assert {value: " ".join(number_words(value)) for value in names} == names
    assert max(len(number_words(value)) for value in range(0, 1_000_000, 777)) <= 9


def test_no_number_is_in_both_parts() -> None:
    training, held = NumberNames(3000), NumberNames(200, held_out=True)
    assert not set(training.values) & set(held.values)
    assert len(set(training.values)) == 3000
    assert all(value % 7 == 0 for value in held.values)
    digits, name = training[0]
    assert digits[0] == name[0] == START
    assert digits[-1] == name[-1] == END


def test_what_cannot_be_named() -> None:
    for value in (-1, 1_000_000):
        with pytest.raises(UsageError, match="0 to 999,999"):
            number_words(value)
    with pytest.raises(UsageError, match="There are no 100"):
        NumberNames(100, digits=1)
