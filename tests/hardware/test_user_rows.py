from __future__ import annotations

from pathlib import Path

import pytest

import trainworthy.hardware
from trainworthy.errors import HardwareRowError, UnknownGpuError
from trainworthy.hardware import gpu_row, gpu_rows
from trainworthy.hardware.rows import built_in_rows
from trainworthy.hardware.user_rows import add_gpu, user_folder, user_rows

H100 = (Path(trainworthy.hardware.__file__).parent / "gpus" / "h100-sxm-80gb.toml").read_text(encoding="utf-8")


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRAINWORTHY_CONFIG", str(tmp_path / "config"))
    path = tmp_path / "anything.toml"
    text = H100.replace('id = "h100-sxm-80gb"', 'id = "mine-sxm-80gb"').replace('"NVIDIA H100 80GB HBM3"', '"My GPU"')
    path.write_text(text, encoding="utf-8")
    return path


def test_a_row_is_kept_as_it_is_and_found_by_id_and_name(mine: Path) -> None:
    assert user_rows() == {}
    gpu, goal = add_gpu(mine)
    assert goal == user_folder() / "mine-sxm-80gb.toml"
    assert goal.read_bytes() == mine.read_bytes()
    assert gpu_row("MINE-sxm-80gb") == gpu_row("my gpu") == gpu
    assert list(gpu_rows()) == sorted([*built_in_rows(), "mine-sxm-80gb"])
    assert "mine-sxm-80gb" not in built_in_rows()
    with pytest.raises(UnknownGpuError, match="mine-sxm-80gb"):
        gpu_row("another")


def test_nothing_is_overwritten(mine: Path) -> None:
    _, goal = add_gpu(mine)
    before = goal.read_bytes()
    with pytest.raises(HardwareRowError, match="never overwritten"):
        add_gpu(mine)
    mine.write_text(H100, encoding="utf-8")
    with pytest.raises(HardwareRowError, match="'h100-sxm-80gb' already"):
        add_gpu(mine)
    mine.write_text(H100.replace('id = "h100-sxm-80gb"', 'id = "other-sxm-80gb"'), encoding="utf-8")
    with pytest.raises(HardwareRowError, match="claimed by two rows"):
        add_gpu(mine)
    assert goal.read_bytes() == before
    assert [path.name for path in user_folder().iterdir()] == [goal.name]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bf16 = 989.4", "bf16 = 1979", "bf16 says 1979 but the row implies 989"),
        ("gb_per_s = 3352", "gb_per_s = 6704", "the row implies 3352"),
        ('id = "mine-sxm-80gb"', 'id = "../../evil"', "not family-form-memory"),
        ('id = "mine-sxm-80gb"', 'id = "mine-sxm-160gb"', "promises 160 GB"), ("[clock]", "[clock", "Cannot be read"),
        ("boost_mhz = 1980\n", "", "boost_mhz"), ("sm_count = 132", "sm_count = 0", "sm_count is 0"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_kept(mine: Path, old: str, new: str, message: str) -> None:
    text = mine.read_text(encoding="utf-8")
    assert old in text
    mine.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(HardwareRowError, match=message):
        add_gpu(mine)
    assert not user_folder().exists()


def test_a_file_broken_later_is_named(mine: Path) -> None:
    _, goal = add_gpu(mine)
    goal.write_text("id = 3", encoding="utf-8")
    with pytest.raises(HardwareRowError) as caught:
        gpu_rows()
    assert str(goal) in str(caught.value)
    assert gpu_row("h100-sxm-80gb").id == "h100-sxm-80gb"  # what is built in does not depend on it


def test_where_the_folder_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TRAINWORTHY_CONFIG", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_folder() == tmp_path / "trainworthy" / "gpus"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert user_folder() == Path.home() / ".config" / "trainworthy" / "gpus"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("APPDATA", str(tmp_path / "roaming"))
    assert user_folder() == tmp_path / "roaming" / "trainworthy" / "gpus"


def test_a_folder_that_cannot_be_written_is_said(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINWORTHY_CONFIG", str(mine))  # a file
    with pytest.raises(HardwareRowError, match="Cannot be written"):
        add_gpu(mine)
