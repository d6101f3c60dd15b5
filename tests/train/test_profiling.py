from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from trainworthy.errors import UsageError
from trainworthy.train.profiling import ProfileWindow, window


@pytest.mark.parametrize("words", ["3", "5:3", "a:b", "-1:2", "3:3"])
def test_refuses_what_is_no_window(words: str) -> None:
    with pytest.raises(UsageError, match="FROM:TO"):
        window(words)


def test_only_the_window_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEARDOWN_CUPTI", raising=False)
    path = tmp_path / "deep" / "trace.json"
    profile = ProfileWindow("1:3", path)
    for step in range(5):
        profile.before(step)
        torch.ones(step + 1).cumsum(0)
        assert path.exists() == (step >= 3)
    names = [event.get("name") for event in json.loads(path.read_text())["traceEvents"]]
    assert names.count("aten::cumsum") == 2
    assert os.environ["TEARDOWN_CUPTI"] == "1"  # else launches stay slower after the window


def test_what_the_user_set_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEARDOWN_CUPTI", "0")
    profile = ProfileWindow("0:1", tmp_path / "trace.json")
    profile.before(0)
    profile.close()
    assert os.environ["TEARDOWN_CUPTI"] == "0"


def test_none(tmp_path: Path) -> None:
    profile = ProfileWindow(None, tmp_path / "trace.json")
    profile.before(0)
    profile.close()
    assert not list(tmp_path.iterdir())
