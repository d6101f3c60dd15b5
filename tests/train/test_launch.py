"""Ranks start, and leave with a code that means something.

That they start again when one dies is tested with a run that trains, in test_kills.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainworthy.errors import UsageError
from trainworthy.train import launch as launcher
from trainworthy.train.launch import is_worker, joined, launch, leave

# What a rank does; it does not train, so that a start is cheap. Its words are the test's only source.
RANK = """
import os, signal, sys, time
from trainworthy.errors import UsageError
from trainworthy.train.launch import joined, leave
from trainworthy.train.signals import Stop, exit_code

restart, case = int(os.environ["TORCHELASTIC_RESTART_COUNT"]), sys.argv[1]
code = 0
with joined("cpu", init_timeout_s=60) as ranks, Stop() as stop:
    print(f"rank {ranks.rank} of {ranks.size}, restart {restart}, heard {ranks.gather(10 * ranks.rank)}", flush=True)
    if case == "error" and ranks.rank == 1:
        raise UsageError("nonsense")
    if case == "signal":
        if ranks.rank == 1:
            os.kill(os.getppid(), signal.SIGUSR1)
        while not code:
            time.sleep(0.01)
            asked = max(ranks.gather(stop.code))
            code = exit_code(asked) if asked else 0
leave(code)
"""


def launched(case: str, tmp_path: Path, *, procs: int = 2) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "rank.py"
    script.write_text(RANK)
    program = (
        "import sys; from trainworthy.train.launch import launch\n"
        f"sys.exit(launch([sys.executable, '-u', {str(script)!r}, {case!r}], procs={procs}, max_restarts=2))"
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_a_signal_to_the_launcher_reaches_the_ranks_and_their_code_is_the_launchers(tmp_path: Path) -> None:
    done = launched("signal", tmp_path)
    assert done.returncode == 143, done.stderr
    for rank in (0, 1):
        assert f"rank {rank} of 2, restart 0, heard [0, 10]" in done.stdout
    assert "restart 1" not in done.stdout


def test_an_error_is_not_tried_again(tmp_path: Path) -> None:
    done = launched("error", tmp_path)
    assert done.returncode == 2, done.stderr
    assert "UsageError: nonsense" in done.stderr
    assert "restart 1" not in done.stdout


def test_one_process_is_alone_and_needs_no_launcher() -> None:
    assert not is_worker()
    with joined("cpu") as ranks:
        assert (ranks.rank, ranks.size, ranks.group) == (0, 1, None)
        assert ranks.gather("word") == ["word"]
        assert ranks.from_first("word") == "word"


def test_leaving_without_a_launcher_is_sys_exit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for code in (0, 2, 143):
        with pytest.raises(SystemExit) as caught:
            leave(code)
        assert caught.value.code == code
    note = tmp_path / "leave"
    monkeypatch.setenv(launcher._LEAVE, str(note))
    with pytest.raises(SystemExit) as caught:
        leave(143)
    assert caught.value.code == 0, "else the agent takes it for a death"
    with pytest.raises(SystemExit) as caught:
        leave(2)
    assert caught.value.code == 2
    assert note.read_text() == "143", "the first one counts"


def test_nonsense_is_refused() -> None:
    with pytest.raises(UsageError, match="--procs is 0"):
        launch(["true"], procs=0)
    with pytest.raises(UsageError, match="There is no device 'gpu'"), joined("gpu"):
        pass


def test_the_environment_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = dict(os.environ)
    monkeypatch.setattr(launcher, "_run_agent", lambda *_, **__: (signal.SIGINT, None))
    assert launch(["true"], procs=1, environment={"X": "1"}) == 130
    assert dict(os.environ) == before
