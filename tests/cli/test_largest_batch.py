"""The search for the largest batch: right on any growing memory, in few runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainworthy.cli.largest_batch import _MAX_RUNS, BatchOption, Search
from trainworthy.cli.rehearse import Request
from trainworthy.errors import UsageError

LIMIT = 24_000


def search(needs: Callable[[int], float], *, start: int = 8, data: int | None = None) -> Search:
    """Run the search on a memory function; batches above ``data`` fail for want of samples."""
    found, batch = Search("gpu"), start
    while batch is not None and len(found.runs) < _MAX_RUNS:
        need = int(needs(batch))
        failed = data is not None and batch > data
        run = SimpleNamespace(
            verdict="failed" if failed else "fits" if need <= LIMIT else "does-not-fit",
            error={"message": "no step"} if failed else None, peak_memory_bytes=need, needed_memory_bytes=need,
            driver_memory_bytes=LIMIT, moved_bytes_per_step=batch,
        )  # fmt: skip
        found.runs[batch] = cast("Any", run)
        batch = cast("int", found.next_batch(batch))
    return found


@given(base=st.integers(0, 20_000), each=st.integers(1, 3000))
def test_linear_memory_is_answered_exactly(base: int, each: int) -> None:
    found = search(lambda batch: base + each * batch)
    assert found.fits == max(0, (LIMIT - base) // each)


@given(base=st.integers(0, 10_000), each=st.floats(0.5, 500), power=st.floats(0.7, 2))
def test_other_growth_is_answered_from_below(base: int, each: float, power: float) -> None:
    def needs(batch: int) -> int:
        return int(base + each * batch**power)

    found = search(needs)
    assert found.fits == 0 or needs(found.fits) <= LIMIT
    if len(found.runs) < _MAX_RUNS and not found.saturated:
        assert needs(found.fits + 1) > LIMIT


@given(data=st.integers(8, 5000))
def test_too_little_data_bounds_the_answer(data: int) -> None:
    found = search(lambda batch: 1000 + batch / 1000, data=data)
    assert data * 0.85 - 2 <= found.fits <= data
    assert found.failed_above == "no step"


def test_script_that_fails_at_once_is_not_tried_again() -> None:
    assert len(search(lambda batch: batch, data=4).runs) == 1


def request(*args: str, option: str = "", target: str = "no.py") -> Request:
    options = argparse.Namespace(find_largest_batch=option, gpu=None, rank=None)
    return Request(options, target, args)


def test_option_is_found_and_replaced() -> None:
    option = BatchOption.of(request("--lr", "1", "--batch-size", "32", "-v"))
    assert (option.start, option.with_value(64)) == (32, ("--lr", "1", "--batch-size", "64", "-v"))
    assert BatchOption.of(request("--bs=4")).with_value(5) == ("--bs=5",)
    assert BatchOption.of(request("data.batch_size=12", "x=1")).with_value(24) == ("data.batch_size=24", "x=1")
    assert BatchOption.of(request("a", option="--n")).with_value(9) == ("a", "--n", "9")
    assert BatchOption.of(request("a", option="n")).with_value(9) == ("a", "n=9")
    with pytest.raises(UsageError, match="was not found"):
        BatchOption.of(request("--lr", "1"))
