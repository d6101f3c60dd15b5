"""Splits by hash: the shares come out, nothing moves when data is added, copies stay together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.errors import UsageError
from trainworthy.parts.data.split import split_indices, split_of

SHARES = {"train": 0.7, "validation": 0.2, "test": 0.1}


def test_shares_come_out() -> None:
    found = split_indices((str(index) for index in range(20_000)), shares=SHARES)
    for name, share in SHARES.items():
        assert len(found[name]) / 20_000 == pytest.approx(share, abs=0.01)


@given(st.lists(st.text(max_size=4), max_size=20), st.text(max_size=4))
def test_each_is_in_one_split_and_new_data_moves_nothing(keys: list[str], new: str) -> None:
    before, after = split_indices(keys, shares=SHARES), split_indices([*keys, new], shares=SHARES)
    assert sorted(index for places in before.values() for index in places) == list(range(len(keys)))
    assert all(set(before[name]) <= set(after[name]) for name in SHARES)


def test_it_is_the_same_in_every_process_and_version() -> None:
    assert [split_of(f"sample {index}", shares=SHARES) for index in range(8)] == [
        split_of(f"sample {index}".encode(), shares=SHARES) for index in range(8)
    ]
    names = "".join(split_of(str(index), shares={"a": 0.5, "b": 0.5}) for index in range(12))
    first_digits = "d2f915371852"  # of `printf '\\0%s' 0 | sha256sum`, and so on to 11
    assert names == "".join("b" if int(digit, 16) >= 8 else "a" for digit in first_digits)


def test_another_salt_is_another_split() -> None:
    keys = [str(index) for index in range(100)]
    assert split_indices(keys, shares=SHARES) != split_indices(keys, shares=SHARES, salt="2")


def test_a_larger_first_share_only_takes_from_the_next() -> None:
    keys = [str(index) for index in range(500)]
    small, large = (split_indices(keys, shares={"a": share, "b": 1 - share})["a"] for share in (0.3, 0.4))
    assert set(small) < set(large)


def test_an_empty_share_gets_nothing() -> None:
    assert split_indices(map(str, range(100)), shares={"a": 0.0, "b": 1.0, "c": 0.0})["b"] == list(range(100))


@pytest.mark.parametrize("shares", [{"a": 0.5, "b": 0.4}, {"a": 1.5, "b": -0.5}, {}])
def test_shares_that_do_not_sum_to_one_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="sum to 1"):
        split_of("x", shares=shares)
