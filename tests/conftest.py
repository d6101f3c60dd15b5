"""What every test gets: no colours, no home, no network habits of the machine it runs on."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: two busy cores are not a fault. In CI the same examples each time, so that a red run is about the change.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

if "PYTEST_XDIST_WORKER" in os.environ:  # a worker a core: more threads would only stand in each other's way
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_WATCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "CUDA_VISIBLE_DEVICES")


def pytest_collection_finish() -> None:
    """Keep what is there now, thousands of tests and all of torch, out of every later collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Name a new folder for each test; a numbered one of pytest's would look at those of all tests before it."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def hermetic(monkeypatch: pytest.MonkeyPatch, homes: Iterator[Path]) -> Iterator[None]:
    """Run a test with a fixed environment, and fail it if it leaks a launcher variable or another directory."""
    for name in (*_WATCHED, "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("WANDB_MODE", "offline")
    home = next(homes)
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    before = Path.cwd()
    yield
    leaked = [name for name in _WATCHED if name in os.environ]
    for name in leaked:
        del os.environ[name]
    assert not leaked, f"the test left environment variables behind: {', '.join(leaked)}"
    assert Path.cwd() == before, f"the test left the working directory at {Path.cwd()}"


@pytest.fixture
def warm_rehearsals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the children of rehearsals be forked from a server that has imported torch; see ``warm.py``."""
    from warm import Child

    monkeypatch.setattr("trainworthy.virtual.script_parent.start_child", Child)
