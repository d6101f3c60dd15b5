"""Checkpoints: what is saved is loaded, the newest sound one is found, and a full disk destroys nothing."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from trainworthy.errors import TrainError, UsageError
from trainworthy.train import checkpoint_write
from trainworthy.train.checkpoint import Checkpoints, CheckpointWarning


def state(step: int) -> dict[str, Any]:
    return {"model": {"w.x": torch.full((4,), float(step))}, "nested": ({1: 0.1 * step}, None), "h": torch.zeros(())}


@pytest.fixture
def warned() -> list[str]:
    return []


@pytest.fixture
def three(tmp_path: Path, warned: list[str]) -> Iterator[Checkpoints]:
    checkpoints = Checkpoints(tmp_path / "c", warn=warned.append, exactness={"seed": 0})
    for step in (10, 20, 30):
        checkpoints.save(state(step), step=step, sample=3 * step, epoch=1, per_rank={"r": step})
    yield checkpoints
    checkpoints.close()


def spoil(path: Path, place: int = -1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


def test_what_is_saved_is_loaded(three: Checkpoints) -> None:
    path = three.find()
    assert path is not None
    loaded = three.load(path)
    assert torch.equal(loaded.state["model"]["w.x"], torch.full((4,), 30.0))
    assert loaded.state["nested"] == state(30)["nested"]
    assert loaded.per_rank == {"r": 30}
    assert (loaded.manifest.step, loaded.manifest.sample, loaded.manifest.epoch) == (30, 90, 1)
    assert loaded.notes == ()


def test_other_tools_can_read_it_and_nothing_is_pickled(three: Checkpoints) -> None:
    path = three.find()
    assert path is not None
    assert sorted(each.name for each in path.iterdir()) == ["manifest.json", "state.json", "tensors.safetensors"]
    assert load_file(path / "tensors.safetensors")["run/model/w.x"].tolist() == [30.0] * 4
    assert json.loads((path / "state.json").read_text())["tree"]["run"]["model"] == {
        "w.x": {"$tensor": "run/model/w.x"}
    }


@pytest.mark.parametrize("name", ["manifest.json", "state.json", "tensors.safetensors"])
def test_a_damaged_one_is_set_aside_and_the_one_before_is_found(
    three: Checkpoints, warned: list[str], tmp_path: Path, name: str
) -> None:
    spoil(tmp_path / "c" / "step-00000030" / name)
    (tmp_path / "c" / "step-00000020" / name).unlink()
    path = three.find()
    assert path is not None
    assert path.name == "step-00000010"
    assert warned[0].startswith(f"Checkpoint step-00000030 is skipped and set aside: {name} does not have its checksum")
    assert "step-00000020" in warned[1]
    three.save(state(30), step=30, sample=90)  # the way leads there again
    assert three.find() == tmp_path / "c" / "step-00000030"


def test_a_copy_under_another_name_is_not_believed_to_be_newer(three: Checkpoints, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "c" / "step-00000010", tmp_path / "c" / "step-00000040")
    path = three.find()
    assert path is not None
    assert path.name == "step-00000030"


def test_where_none_is_whole_the_run_does_not_begin_anew_by_itself(three: Checkpoints, tmp_path: Path) -> None:
    for folder in (tmp_path / "c").glob("step-*"):
        (folder / "state.json").unlink()
    with pytest.raises(TrainError, match=r"No checkpoint is whole \(step-00000030: state.json is missing"):
        three.find()
    with pytest.raises(TrainError, match=r"No checkpoint is whole \(step-00000010\.damaged"):
        three.find()
    for folder in (tmp_path / "c").glob("*.damaged"):
        shutil.rmtree(folder)
    assert three.find() is None


def test_never_refuses_a_folder_that_has_any(three: Checkpoints, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="has checkpoints already, the newest step-00000030"):
        three.find("never")
    assert Checkpoints(tmp_path / "other").find("never") is None


def test_a_named_one_is_used_and_later_ones_are_of_another_future(three: Checkpoints, tmp_path: Path) -> None:
    path = tmp_path / "c" / "step-00000020"
    assert three.find(str(path)) == path
    assert three.find() == path
    assert (tmp_path / "c" / "step-00000030.superseded").is_dir()
    spoil(path / "state.json")
    with pytest.raises(TrainError, match=r"not whole: state\.json does not have its checksum"):
        three.find(str(path))
    with pytest.raises(TrainError, match=r"it has no manifest\.json"):
        three.find(str(tmp_path / "nowhere"))


def test_what_makes_a_run_inexact_is_said(three: Checkpoints, tmp_path: Path) -> None:
    path = three.find()
    assert path is not None
    other = Checkpoints(tmp_path / "c", exactness={"seed": 1})
    assert other.load(path).notes == ("seed was 0 and is 1",)


def test_a_background_save_is_of_the_moment_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, background=True)
    go, write = threading.Event(), checkpoint_write.write
    monkeypatch.setattr(checkpoint_write, "write", lambda job: (go.wait(30), write(job))[1])
    weight = torch.zeros(5)
    whole = {"w": weight, "row": weight.view(5, 1), "half": weight[:2]}
    checkpoints.save(whole, step=1, sample=1)
    weight += 1
    assert checkpoints._folder.names() == []
    go.set()
    checkpoints.wait()
    path = checkpoints.find()
    assert path is not None
    loaded = checkpoints.load(path).state
    assert all(not each.any() for each in loaded.values())
    assert [each.shape for each in loaded.values()] == [weight.shape, (5, 1), (2,)]
    checkpoints.save(whole, step=2, sample=2, final=True)  # written when it returns
    assert checkpoints._folder.names()[-1] == "step-00000002"


@pytest.mark.parametrize("background", [False, True])
def test_a_full_disk_destroys_nothing_and_does_not_end_the_run(
    tmp_path: Path, warned: list[str], background: bool
) -> None:
    checkpoints = Checkpoints(tmp_path / "c", warn=warned.append, background=background)
    checkpoints.save(state(1), step=1, sample=1)
    checkpoints.wait()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # what is longer fails, as on a full disk
    try:
        big = {"w": torch.zeros(1000)}
        checkpoints.save(big, step=2, sample=2)
        checkpoints.wait()
        (warning,) = warned
        assert warning.startswith(
            "Checkpoint step-00000002 was not written: Error while serializing: I/O error: File too "
        )
        assert warning.endswith("The run goes on; the checkpoints before are untouched.")
        with pytest.raises(
            TrainError, match=r"The last state of the run is lost; the newest checkpoint is step-00000001"
        ):
            checkpoints.save(big, step=3, sample=3, final=True)
        assert checkpoints.newest == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert sorted(os.listdir(tmp_path / "c")) == [".lock", "step-00000001"]
    checkpoints.save(big, step=3, sample=3, final=True)
    assert checkpoints.newest == 3
    path = checkpoints.find()
    assert path is not None
    assert path.name == "step-00000003"


def test_a_fault_in_the_background_is_not_swallowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(job: object) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(checkpoint_write, "write", fault)
    checkpoints = Checkpoints(tmp_path, background=True)
    checkpoints.save(state(1), step=1, sample=1)
    with pytest.raises(ZeroDivisionError):
        checkpoints.wait()


def test_warnings_are_pythons_where_nothing_else_is_said(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(state(step), step=step, sample=0)
    spoil(tmp_path / "step-00000002" / "state.json")
    with pytest.warns(CheckpointWarning, match="step-00000002 is skipped"):
        checkpoints.find()


def test_a_folder_that_cannot_be_is_an_error_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainError, match="The folder of checkpoints cannot be used"):
        Checkpoints(tmp_path / "file" / "c")
    with pytest.raises(UsageError, match="keep_checkpoints is 0"):
        Checkpoints(tmp_path, keep=0)
