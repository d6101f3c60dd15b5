"""What is imported when, and how long it takes: a shell prompt should not notice it."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = ("torch", "numpy", "transformers", "rich", "hypothesis", "yaml")
_PURE = (
    "trainworthy.errors", "trainworthy.units", "trainworthy.hardware", "trainworthy.tape.record",
    "trainworthy.tape.fold", "trainworthy.tape.memory", "trainworthy.tape.totals", "trainworthy.tape.file",
    "trainworthy.formulas.conv_shapes", "trainworthy.explain",
)  # fmt: skip


def run(program: str, *arguments: str) -> str:
    command = [sys.executable, *arguments, "-c", program]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
    ).stdout.strip()


def test_import_brings_nothing_heavy() -> None:
    loaded = run("import sys, trainworthy; print(*sys.modules)").split()
    assert not {name.split(".")[0] for name in loaded} & set(_HEAVY)


@pytest.mark.parametrize("module", _PURE)
def test_the_pure_modules_never_import_torch(module: str) -> None:
    loaded = run(f"import sys, {module}; print(*sys.modules)").split()
    assert module in loaded
    assert not {name.split(".")[0] for name in loaded} & {"torch", "numpy"}


def test_a_check_brings_what_it_needs_alone() -> None:
    program = "import sys; from trainworthy.cli.main import main; main(['check', '-', '--format', 'json']); "
    loaded = run(program + "print(*sys.modules)").splitlines()[-1].split()
    assert "trainworthy.report.findings.json" in loaded
    assert not {"trainworthy.inspect", "trainworthy.report.html", "trainworthy.report.findings.junit"} & set(loaded)


def test_import_prints_nothing_and_changes_nothing() -> None:
    program = """
import os, signal, sys, threading, warnings
def state():
    return (dict(os.environ), list(warnings.filters), threading.active_count(), signal.getsignal(signal.SIGINT),
            sys.excepthook, sys.displayhook, list(sys.meta_path), list(sys.path), os.getcwd())
before = state()
import trainworthy
assert state() == before
"""
    assert run(program, "-W", "error") == ""


def test_every_public_name_is_there() -> None:
    program = "import trainworthy as tw; print(sorted(tw.__all__) == list(tw.__all__), *tw.__all__)"
    is_sorted, *names = run(program).split()
    assert is_sorted == "True"
    assert names
    run(f"import trainworthy as tw; [getattr(tw, name) for name in {names}]")


@pytest.mark.parametrize("name", ["Tape", "TrainworthyError", "gpu_row", "gpu_rows", "load_tape"])
def test_names_that_need_no_torch_import_none(name: str) -> None:
    assert "torch" not in run(f"import sys, trainworthy; trainworthy.{name}; print(*sys.modules)").split()


def test_import_takes_less_than_a_tenth_of_a_second() -> None:
    program = "import time; start = time.perf_counter(); import trainworthy; print(time.perf_counter() - start)"
    assert min(float(run(program)) for _ in range(5)) < 0.1
