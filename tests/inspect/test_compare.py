"""What counts as a regression."""

from __future__ import annotations

from typing import Any

import pytest

from trainworthy.errors import UsageError
from trainworthy.inspect.compare import compare_results


def result(**fields: Any) -> dict[str, Any]:
    return {"schema_version": 1, "verdict": "fits", "peak_memory_bytes": 1000, "flops_per_step": 1000, **fields}


@pytest.mark.parametrize(
    ("after", "regressions"),
    [
        ({}, []),
        ({"peak_memory_bytes": 1050}, []),
        ({"peak_memory_bytes": 1051}, ["peak_memory_bytes"]),
        ({"peak_memory_bytes": 500}, []),
        ({"flops_per_step": None}, ["flops_per_step"]),
        ({"verdict": "does-not-fit"}, ["verdict"]),
        ({"parameters": 10**9}, []),
        ({"host_syncs_per_step": 1}, []),
    ],
)
def test_limit_of_five_percent(after: dict[str, Any], regressions: list[str]) -> None:
    comparison = compare_results(result(), result(**after))
    assert [change.name for change in comparison.regressions] == regressions


def test_growth_from_nothing_is_a_regression() -> None:
    comparison = compare_results(result(host_syncs_per_step=0), result(host_syncs_per_step=1))
    assert [(c.name, c.change_pct) for c in comparison.regressions] == [("host_syncs_per_step", None)]


def test_a_limit_of_zero_sees_one_byte() -> None:
    big = 10**16
    comparison = compare_results(result(peak_memory_bytes=big), result(peak_memory_bytes=big + 1), max_regression_pct=0)
    assert [c.name for c in comparison.regressions] == ["peak_memory_bytes"]


def test_getting_better_never_is() -> None:
    assert not compare_results(result(verdict="failed"), result()).regressions


@pytest.mark.parametrize("wrong", [{}, {"schema_version": 2, "verdict": "fits"}, {"schema_version": 1}, [1]])
def test_other_files_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="schema_version"):
        compare_results(wrong, result())


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(UsageError):
        compare_results(result(), result(), max_regression_pct=-1)
