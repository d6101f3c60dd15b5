"""``trainworthy compare``: the gate for continuous integration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainworthy.cli.main import main


def result(path: Path, **changes: object) -> str:
    fields = {"schema_version": 1, "verdict": "fits", "peak_memory_bytes": 1000, "flops_per_step": 50, "parameters": 7}
    path.write_text(json.dumps({**fields, **changes}))
    return str(path)


def test_within_the_limit_is_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = result(tmp_path / "a.json"), result(tmp_path / "b.json", peak_memory_bytes=1050)
    assert main(["compare", before, after]) == 0
    assert "+5.00 %" in capsys.readouterr().out


def test_beyond_the_limit_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, after = result(tmp_path / "a.json"), result(tmp_path / "b.json", peak_memory_bytes=1051)
    assert main(["compare", before, after]) == 1
    assert "REGRESSION" in capsys.readouterr().out
    assert main(["compare", before, after, "--max-regression-pct", "6"]) == 0
    assert main(["compare", before, after, "--exit-zero"]) == 0
    capsys.readouterr()
    assert main(["compare", before, after, "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["regressions"] == ["peak_memory_bytes"]


def test_a_worse_verdict_fails_whatever_the_limit(tmp_path: Path) -> None:
    before, after = result(tmp_path / "a.json"), result(tmp_path / "b.json", verdict="does-not-fit")
    assert main(["compare", before, after, "--max-regression-pct", "1000"]) == 1
