"""Every published error is found with line and cause, without a reference run; without the error, nothing is."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from check.live.run import guarded
from check.traincheck.ranks import run_all
from check.traincheck.reports import HERE, ORDER, REPORTS, Report
from distributed.gloo import run_ranks
from trainworthy.check.live import copies

ALONE = [r for r in REPORTS.values() if r.ranks == 1]
TOGETHER = [r for r in REPORTS.values() if r.ranks > 1]


@pytest.fixture
def machine() -> Any:
    """Give the machine back as it was: some programs pretend that it is broken."""
    before = copies.used_devices, copies.copy_faults.__defaults__
    yield
    copies.used_devices, copies.copy_faults.__defaults__ = before


def test_there_are_26_of_which_5_are_simulated() -> None:
    assert {path.stem for path in HERE.glob("*.md")} == set(ORDER)
    assert len(ORDER) == 26
    assert sum(report.simulated for report in REPORTS.values()) == 5


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("report", ALONE, ids=lambda report: report.id)
def test_an_error_is_found_where_it_is(report: Report, tmp_path: Path) -> None:
    guard, _ = guarded(report.program, tmp_path / "train.py")
    found = [f for f in guard.findings if f.severity != "hint"]
    assert {f.code for f in found} == {report.code} | report.also
    if report.marked:
        assert {f.place.line for f in found if f.code == report.code} == report.marked


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("report", ALONE, ids=lambda report: report.id)
def test_without_it_nothing_is_found(report: Report, tmp_path: Path) -> None:
    guard, _ = guarded(report.fixed, tmp_path / "train.py")
    assert [(f.code, f.message) for f in guard.findings] == []


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, list[dict[str, Any]]]]:
    folder = tmp_path_factory.mktemp("ranks")
    return run_ranks(partial(run_all, folder), 2, folder, limit_s=120)


@pytest.mark.parametrize("report", TOGETHER, ids=lambda report: report.id)
def test_an_error_of_two_ranks_is_found_and_the_rank_is_named(report: Report, ranks: Any) -> None:
    found = [f for rank in ranks for f in rank[f"{report.id} bug"] if f["severity"] != "hint"]
    assert {f["code"] for f in found} == {report.code}
    places = {f["line"] for f in found} | {e["line"] for f in found for e in f["evidence"] if "line" in e}
    assert report.marked <= places
    if report.code != "TW351":
        assert all("rank" in f["message"] for f in found)


@pytest.mark.parametrize("report", TOGETHER, ids=lambda report: report.id)
def test_two_ranks_without_it_have_no_finding(report: Report, ranks: Any) -> None:
    assert [f for rank in ranks for f in rank[f"{report.id} fixed"]] == []
