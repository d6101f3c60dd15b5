from __future__ import annotations

import json
import math
import os
from io import FileIO
from pathlib import Path

import pytest

from trainworthy.errors import UsageError
from trainworthy.train.journal import FILE, Journal, read_rows


def test_a_row_a_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, after_step=0, tensorboard=False)
    journal.write("train", 10, 1, {"loss": 0.5, "norm": math.nan, "lr": -math.inf})
    assert (tmp_path / FILE).read_text() == json.dumps(
        {"kind": "train", "step": 10, "epoch": 1, "loss": 0.5, "norm": "nan", "lr": "-inf"}
    ) + "\n"
    journal.close()


def test_goes_on_after_the_step_of_a_checkpoint(tmp_path: Path) -> None:
    first = Journal(tmp_path, after_step=0, tensorboard=False)
    for step in (1, 2, 3):
        first.write("train", step, 0, {})
    first.write("end", 3, 0, {})
    first.close()
    with (tmp_path / FILE).open("a") as file:
        file.write('{"kind": "tra')
    second = Journal(tmp_path, after_step=2, tensorboard=False)
    second.write("train", 3, 0, {"again": 1.0})
    second.close()
    assert [(row["kind"], row["step"], "again" in row) for row in read_rows(tmp_path)] == [
        ("train", 1, False), ("train", 2, False), ("train", 3, True),
    ]  # fmt: skip


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    journal = Journal(None, after_step=0, tensorboard=None)
    journal.write("train", 1, 0, {})
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_when_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    journal = Journal(tmp_path, after_step=0, tensorboard=None)
    journal.write("train", 1, 0, {"loss": 1.0})
    journal.close()
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_tensorboard_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match="pip install tensorboard"):
        Journal(tmp_path, after_step=0, tensorboard=True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_ends_no_run(tmp_path: Path) -> None:
    said: list[str] = []
    journal = Journal(tmp_path, after_step=0, tensorboard=False, warn=said.append)
    journal.close()
    journal._file = FileIO("/dev/full", "w")
    for step in (1, 2):
        journal.write("train", step, 0, {"loss": 1.0})
    journal.close()
    assert len(said) == 1
    assert "No space left" in said[0]
