from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.units import (
    GIB,
    KIB,
    MIB,
    TIB,
    UNKNOWN,
    format_bytes,
    format_count,
    format_flops,
    format_seconds,
    format_si,
    parse_size,
)

sizes = st.integers(min_value=0, max_value=2**63 - 1)


@pytest.mark.parametrize(
    ("num_bytes", "expected"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1000, "1,000 B"),
        (1023, "1,023 B"),
        (KIB, "1 KiB"),
        (10 * MIB, "10 MiB"),
        (1023.9 * KIB, "1 MiB"),
        (1000 * KIB, "1,000 KiB"),
        (GIB, "1 GiB"),
        (85_028_896_768, "79.2 GiB"),
        (3 * TIB, "3 TiB"),
        (5000 * 2**60, "5,000 EiB"),
        (-5 * GIB, "-5 GiB"),
        (None, UNKNOWN),
    ],
)
def test_format_bytes(num_bytes: float | None, expected: str) -> None:
    assert format_bytes(num_bytes) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (124_439_808, "124.4M"),
        (999_960, "1.0M"),
        (8_030_261_248, "8.0B"),
        (405_853_388_800, "405.9B"),
        (2e15, "2,000.0T"),
        (None, UNKNOWN),
    ],
)
def test_format_count(count: float | None, expected: str) -> None:
    assert format_count(count) == expected


def test_format_flops_and_si() -> None:
    assert format_flops(7.01e12) == "7.01 TFLOP"
    assert format_flops(999.6e9) == "1 TFLOP"
    assert format_flops(0) == "0 FLOP"
    assert format_si(3.352e12, "B/s") == "3.35 TB/s"
    assert format_si(float("inf"), "s") == "inf s"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 ms"),
        (0.0123, "12.3 ms"),
        (0.9999, "1 s"),
        (59.96, "1 min 0 s"),
        (3599.6, "1 h 0 min"),
        (86_400, "24 h 0 min"),
        (None, UNKNOWN),
    ],
)
def test_format_seconds(seconds: float | None, expected: str) -> None:
    assert format_seconds(seconds) == expected


@pytest.mark.parametrize("formatter", [format_bytes, format_count, format_flops, format_seconds])
def test_unknown_is_never_zero(formatter: object) -> None:
    assert callable(formatter)
    assert formatter(None) == UNKNOWN != formatter(0)


@given(num_bytes=sizes)
def test_formatted_bytes_parse_back_within_half_a_percent(num_bytes: int) -> None:
    back = parse_size(format_bytes(num_bytes).replace(",", ""))
    assert abs(back - num_bytes) <= 0.005 * num_bytes + 1  # parse_size drops the part of a byte


@given(smaller=sizes, larger=sizes)
def test_formatting_keeps_the_order(smaller: int, larger: int) -> None:
    smaller, larger = sorted((smaller, larger))
    assert parse_size(format_bytes(smaller).replace(",", "")) <= parse_size(format_bytes(larger).replace(",", ""))


@given(count=st.integers(min_value=0, max_value=10**18))
def test_a_count_has_at_most_one_decimal(count: int) -> None:
    assert re.fullmatch(r"[\d,]+(\.\d)?[kMBT]?", format_count(count))


@given(number=st.integers(min_value=0, max_value=10**6), unit=st.sampled_from(["KiB", "MiB", "GiB", "TiB"]))
def test_parse_size_is_exact_for_integers(number: int, unit: str) -> None:
    factor = {"KiB": KIB, "MiB": MIB, "GiB": GIB, "TiB": TIB}[unit]
    assert parse_size(f"{number}{unit}") == parse_size(f" {number} {unit.lower()} ") == number * factor


@given(text=st.text(max_size=12))
def test_parse_size_reads_or_says_so(text: str) -> None:
    try:
        size = parse_size(text)
    except ValueError as error:
        message = str(error)
    else:
        message = "not a size: "
        assert size >= 0
    assert message.startswith("not a size: ")


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "1.2.3GB", "1 XB", "iB", "1ib", "nan", "1e9", "²GB"])
def test_parse_size_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)
