"""``check --live`` as a user starts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainworthy.check.live.command import check_live
from trainworthy.check.rule import all_rules
from trainworthy.cli.main import main
from trainworthy.errors import UsageError

SCRIPT = """\
import sys
import torch

n = int(sys.argv[2])
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=float(sys.argv[1]))
for step in range(1000):
    loss = (model(torch.randn(n, 4)) - torch.randn(n)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    torch.save(model.state_dict(), "weights.pt")
    if step > 50:
        raise RuntimeError("the guard did not stop the script")
"""


def test_a_script_is_stopped_after_its_steps_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check", "--live", "3", "--format", "json", "--select", "TW101", "train.py", "0.01", "8"]
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        assert main(words) == 1
        found = json.loads(capsys.readouterr().out)
        (tmp_path / "train.py").write_text(SCRIPT.replace("mean()", "mean()  # noqa: TW101"), encoding="utf-8")
        assert main(words) == 0
    (finding,) = found["findings"]
    assert (finding["code"], finding["path"], finding["line"], finding["depth"]) == ("TW101", "train.py", 9, "live")
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_a_script_that_fails_tells_where_and_what_was_seen_counts(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.replace("if step > 50", "if step > 2"), encoding="utf-8")
    result = check_live(str(script), args=["0.01", "8"], steps=20)
    assert result.steps == 4
    assert [f.code for f in result.findings if f.severity != "hint"] == ["TW101"]
    assert result.error is not None
    assert result.error["line"] == 15


def test_wrong_use_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least one step"):
        check_live("train.py", steps=0)
    with pytest.raises(UsageError, match="no file"):
        check_live("nowhere.py")


def test_a_finding_survives_its_way_through_json() -> None:
    from trainworthy.check.finding import Evidence, Hit, Place, finding_from_dict

    evidence = (Evidence("e", Place("b.py", 1)), Evidence("f"))
    hit = Hit(place=Place("a.py", 3, 4), message="m", evidence=evidence, fix="g")
    finding = all_rules()["TW101"].finding(hit, "live")
    assert finding_from_dict(json.loads(json.dumps(finding.to_dict()))) == finding
