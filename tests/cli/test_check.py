"""``trainworthy check`` and ``trainworthy explain TW201`` as a user types them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

import trainworthy
from trainworthy.check.rule import all_rules
from trainworthy.cli.main import main

SOFTMAX = """\
import torch
import torch.nn.functional as F

out = torch.softmax(torch.rand(8, 10), dim=1)
loss = F.cross_entropy(out, torch.zeros(8).long())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "train.py").write_text(SOFTMAX)
    (tmp_path / "clean.py").write_text("import torch\n")
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["check", *words])
    return code, capsys.readouterr().out


def test_exit_codes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "train.py")[0] == 1
    assert run(capsys, "clean.py")[0] == 0
    assert run(capsys, "train.py", "--exit-zero")[0] == 0
    assert main(["check", "nothing.py"]) == 2
    assert main(["check", "train.py", "--select", "TW999"]) == 2


def test_full_shows_the_marked_line_evidence_and_fix(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "train.py")[1]
    assert text.splitlines()[:5] == [
        "error[TW201] cross-entropy gets the result of a softmax; it applies log-softmax itself",
        "  --> train.py:5:8  (softmax-before-cross-entropy)",
        "    │",
        "  5 │ loss = F.cross_entropy(out, torch.zeros(8).long())",
        "    │        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
    ]
    assert "the softmax is here: line 4" in text
    assert "  fix  Remove the softmax" in text
    assert text.rstrip().endswith(f"1 error in 1 file, 6 lines, {len(_static())} rules.")


def _static() -> list[str]:
    return [one.code for one in all_rules().values() if "static" in one.finders and one.default]


def test_broadcasting_is_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "b.py").write_text(all_rules()["TW101"].bad)
    text = run(capsys, "b.py")[1]
    assert "  left  64   1" in text
    assert " right   ·  64" in text
    assert "result  64  64" in text


def test_json_is_the_stated_interface(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = json.loads(run(capsys, ".", "--format", "json")[1])
    assert set(data) == {"schema_version", "findings", "files", "lines", "rules"}
    finding = data["findings"][0]
    wanted = {"code", "name", "severity", "path", "line", "column", "end_line", "message", "evidence", "depth"}
    assert wanted <= set(finding)
    assert (finding["code"], finding["severity"], finding["depth"], finding["line"]) == ("TW201", "error", "static", 5)
    assert data["files"] == 2


def test_machine_formats_parse(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sarif = json.loads(run(capsys, ".", "--format", "sarif")[1])["runs"][0]
    result = sarif["results"][0]
    assert sarif["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "TW201"
    region = result["locations"][0]["physicalLocation"]["region"]
    assert region == {"startLine": 5, "endLine": 5, "startColumn": 8, "endColumn": 51}
    issue = json.loads(run(capsys, ".", "--format", "gitlab")[1])[0]
    assert issue["location"] == {"path": "train.py", "lines": {"begin": 5, "end": 5}}
    suites = ET.fromstring(run(capsys, ".", "--format", "junit")[1])
    assert suites.attrib["failures"] == "1"
    line = run(capsys, ".", "--format", "github")[1]
    assert line.startswith("::error title=TW201 softmax-before-cross-entropy,file=train.py,line=5")
    assert run(capsys, ".", "--format", "concise")[1].startswith("train.py:5:8: TW201 error: ")


def test_clean_junit_has_a_passing_case(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suites = ET.fromstring(run(capsys, "clean.py", "--format", "junit")[1])
    assert suites.attrib == {"name": "trainworthy", "tests": "1", "failures": "0", "errors": "0"}


def test_standard_input(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(SOFTMAX.encode())))
    code, text = run(capsys, "-", "--stdin-filename", "shown.py")
    assert code == 1
    assert "--> shown.py:5:8" in text
    assert "  5 │ loss" in text


def test_statistics_and_rule_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, ".", "--statistics")[1].split() == ["1", "TW201", "softmax-before-cross-entropy"]
    code, text = run(capsys, "--list-rules")
    assert code == 0
    assert all(known in text for known in all_rules())


def test_baseline_round_trip(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, ".", "--baseline", "known.json", "--update-baseline")[0] == 0
    assert run(capsys, ".", "--baseline", "known.json")[0] == 0
    assert main(["check", ".", "--update-baseline"]) == 2
    (folder / "known.json").write_text("[]")
    assert main(["check", ".", "--baseline", "known.json"]) == 2


def test_diff_and_fix(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "train.py").write_text("import torch\nw = torch.zeros(1)\nw.require_grad = True\n")
    code, text = run(capsys, "train.py", "--diff")
    assert code == 1
    assert "+w.requires_grad = True" in text
    assert run(capsys, "train.py", "--fix")[0] == 0
    assert "requires_grad" in (folder / "train.py").read_text()


def test_pyproject_is_read_and_can_be_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "pyproject.toml").write_text('[tool.trainworthy.check]\nignore = ["TW201"]\n')
    assert run(capsys, ".")[0] == 0
    assert run(capsys, ".", "--isolated")[0] == 1


def test_explain_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "tw201"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# TW201 softmax-before-cross-entropy")
    assert "## How sure" in text
    assert main(["explain", "TW201", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["severity"] == "error"
    assert main(["explain", "TW999"]) == 2


def test_torch_is_not_imported(folder: Path) -> None:
    program = (
        "import sys; from trainworthy.cli.main import main; main(['check', '.']); assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(trainworthy.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)
