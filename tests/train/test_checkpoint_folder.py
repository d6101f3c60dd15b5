"""After a kill at any moment, each name in the folder holds all of a checkpoint or is one that is never read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainworthy.errors import TrainError
from trainworthy.train.checkpoint_folder import Folder
from trainworthy.train.manifest import Manifest, write


def saved(folder: Folder, step: int, *, best: bool = False, content: str = "x") -> None:
    folder.begin(step)
    (folder.temporary(step) / "content").write_text(content)
    write(folder.temporary(step), Manifest(step=step, sample=0, epoch=0, best=best))
    folder.commit(step)


def steps(folder: Folder) -> list[int]:
    return [int(name[5:]) for name in folder.names()]


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    folder = Folder(tmp_path, keep=2)
    for step, best in ((1, True), (2, True), (3, False), (4, False), (5, False)):
        saved(folder, step, best=best)
    assert steps(folder) == [2, 4, 5]
    saved(folder, 6, best=True)
    saved(folder, 7)
    assert steps(folder) == [6, 7]


def test_steps_sort_as_numbers(tmp_path: Path) -> None:
    folder = Folder(tmp_path, keep=9)
    for step in (999_999_999, 99_999_999, 100_000_000):
        saved(folder, step)
    assert steps(folder) == [99_999_999, 100_000_000, 999_999_999]


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path, keep=2)
    saved(folder, 1, content="old")
    saved(folder, 1, content="new")
    assert (tmp_path / "step-00000001" / "content").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000001"]


def test_what_a_kill_left_behind_is_cleared_away(tmp_path: Path) -> None:
    folder = Folder(tmp_path, keep=2)
    saved(folder, 1)
    folder.begin(2)
    (tmp_path / "step-00000001").rename(tmp_path / "step-00000001.replaced")  # killed between two renames
    (tmp_path / "step-00000000.removed").mkdir()
    assert folder.names() == []
    again = Folder(tmp_path, keep=2)
    again.open()
    assert again.names() == ["step-00000001"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "step-00000001"]
    again.close()


def test_set_aside_is_never_read_and_kept_once(tmp_path: Path) -> None:
    folder = Folder(tmp_path, keep=2)
    for content in ("first", "second"):
        saved(folder, 1, content=content)
        folder.set_aside("step-00000001", "damaged")
    assert folder.names() == []
    assert folder.damaged() == ["step-00000001.damaged"]
    assert (tmp_path / "step-00000001.damaged" / "content").read_text() == "second"


def test_a_folder_is_one_runs_and_a_fork_does_not_hold_it(tmp_path: Path) -> None:
    hold = (
        "import os, sys; from pathlib import Path; from trainworthy.train.checkpoint_folder import Folder\n"
        "folder = Folder(Path(sys.argv[1]), 1); folder.open(); print('held', flush=True)\n"
        "child = os.fork()\n"
        "sys.stdin.read()\n"  # the child reads on when the parent is gone
    )
    command = [sys.executable, "-c", hold, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        ticks = iter([0.0, 100.0])
        with pytest.raises(TrainError, match="Another run uses this folder"):
            Folder(tmp_path, 1).open(clock=lambda: next(ticks))
        os.kill(holder.pid, 9)
        os.waitpid(holder.pid, 0)
        folder = Folder(tmp_path, 1)
        folder.open()
        folder.close()
        holder.stdin.close()
        holder.returncode = -9
