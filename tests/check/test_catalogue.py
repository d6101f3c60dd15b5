"""The program of every row of the catalogue is found at its depth; those that are no mistake are left alone."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from benchmarks.catalogue import Row, named, read_manifest, read_rows

from check.depths import findings
from trainworthy.check.live import copies
from trainworthy.check.rule import all_rules

ROWS, MANIFEST = {row.number: row for row in read_rows()}, read_manifest()
CATALOGUE = Path(__file__).parents[3] / "shared" / "data" / "pitfalls.csv"
EXPECTED = [row for row in ROWS.values() if row.number not in MANIFEST["not_found"] | MANIFEST["no_mistake"]]


def found_in(row: Row, folder: Path) -> list[tuple[str, int]]:
    path = folder / "program.py"
    sizes = "TW120" in MANIFEST["codes"].get(row.number, ())  # it takes a second rehearsal
    try:
        found = findings(row.program, "again" if sizes else row.depth, path)
    except Exception as error:
        trace, line = error.__traceback__, 0
        while trace is not None:
            line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == str(path) else line
            trace = trace.tb_next
        return [("raises", line), *((f.code, f.place.line) for f in findings(row.program, "static", path))]
    return [(f.code, f.place.line) for f in found]


@pytest.fixture
def machine() -> Any:
    """Give the machine back as it was: a program pretends that it is broken."""
    before = copies.used_devices, copies.copy_faults.__defaults__
    yield
    copies.used_devices, copies.copy_faults.__defaults__ = before


@pytest.mark.usefixtures("machine", "warm_rehearsals")
@pytest.mark.parametrize("row", EXPECTED, ids=lambda row: row.number)
def test_the_row_is_found_on_its_line(row: Row, tmp_path: Path) -> None:
    assert row.lines or row.number in MANIFEST["simulated"], "a line must be marked"
    assert named(row, found_in(row, tmp_path), MANIFEST["codes"][row.number])


@pytest.mark.usefixtures("warm_rehearsals")
@pytest.mark.parametrize("number", [n for n in MANIFEST["no_mistake"] if n in ROWS])
def test_what_is_right_is_left_alone(number: str, tmp_path: Path) -> None:
    on = {code for code, rule in all_rules().items() if rule.default}
    assert [one for one in found_in(ROWS[number], tmp_path) if one[0] in on] == []


def test_every_code_of_the_manifest_is_one() -> None:
    codes = {code for codes in MANIFEST["codes"].values() for code in codes}
    assert codes <= {*all_rules(), "raises"}
    assert set(MANIFEST["codes"]) == {row.number for row in EXPECTED}


@pytest.mark.skipif(not CATALOGUE.exists(), reason="the catalogue is data beside the repository")
def test_every_row_of_the_catalogue_is_spoken_for() -> None:
    with CATALOGUE.open(encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    spoken = {*MANIFEST["codes"], *MANIFEST["no_mistake"], *MANIFEST["not_found"], *MANIFEST["verify"]["rows"]}
    assert spoken == set(rows)
    assert {n for n, row in rows.items() if row["best_detection_stage"] == "differential"} == {
        *MANIFEST["verify"]["rows"]
    }
    stages = {"static-source": "static", "dry-tape": "dry", "live": "live"}
    for number, row in ROWS.items():
        if number not in MANIFEST["no_mistake"]:
            assert row.depth == stages[rows[number]["best_detection_stage"]], number
