from __future__ import annotations

import json
from pathlib import Path

import pytest

import trainworthy.hardware
from trainworthy.cli.main import main

ROW = Path(trainworthy.hardware.__file__).parent / "gpus" / "v100-sxm2-16gb.toml"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAINWORTHY_CONFIG", str(tmp_path / "config"))
    path = tmp_path / "row.toml"
    text = (
        ROW.read_text(encoding="utf-8").replace("v100-sxm2-16gb", "mine-16gb").replace("Tesla V100-SXM2-16GB", "Mine")
    )
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_can_be_added_and_used(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus", "add", str(mine)]) == 0
    assert "pass --gpu mine-16gb" in capsys.readouterr().out
    assert main(["gpus"]) == 0
    assert "mine-16gb" in capsys.readouterr().out
    assert main(["explain", "matmul", "8192", "128", "8192", "--gpu", "mine-16gb"]) == 0
    assert "124.1 FLOP/B against 138.9" in capsys.readouterr().out
    assert main(["gpus", "add", str(mine), "--format", "json"]) == 2
    assert "never overwritten" in capsys.readouterr().err


def test_a_wrong_row_is_refused_with_what_to_do(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine.write_text(mine.read_text(encoding="utf-8").replace("fp16 = 125", "fp16 = 250"), encoding="utf-8")
    assert main(["gpus", "add", str(mine)]) == 2
    error = capsys.readouterr().err
    assert "fp16 says 250" in error
    assert "Rates are dense" in error
    assert str(mine) in error


def test_links_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus", "--links"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["nvlink4", "450", "370.8"] for line in lines)
    assert main(["gpus", "--links", "--format", "json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["ib-ndr"]["gb_per_s_per_direction"] == 50
    assert rows["ib-ndr"]["bus_gb_per_s"] is None


def test_cpus_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus", "--cpus"]) == 0
    assert any(line.split()[:3] == ["epyc-7763", "64", "2.45"] for line in capsys.readouterr().out.splitlines())
    assert main(["gpus", "--cpus", "--format", "json"]) == 0
    assert {row["id"] for row in json.loads(capsys.readouterr().out)} >= {"epyc-7763", "xeon-8480plus"}


def test_rows_as_json_have_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpus", "--format", "json"]) == 0
    rows = {row["id"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["mi300x-oam-192gb"]["vendor"] == "AMD"
    assert all(row["sources"] for row in rows.values())


@pytest.mark.parametrize(
    "words", [["add"], ["list", "x"], ["remove", "x"], ["add", "x", "--cpus"], ["--links", "--cpus"]]
)
def test_wrong_words_leave_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["gpus", *words])
    assert left.value.code == 2
    assert capsys.readouterr().err
