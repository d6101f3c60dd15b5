"""Which failures of public scripts count as trainworthy's, and the control runs that decide it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import compatibility  # type: ignore[import-not-found]  # noqa: E402
import compatibility_page  # type: ignore[import-not-found]  # noqa: E402

INDEX = "IndexError: invalid index of a 0-dim tensor. Use `tensor.item()` in Python or ..."
NO_X = "ModuleNotFoundError: No module named 'x'"
NO_GPU = "AssertionError: Torch not compiled with CUDA enabled"
NO_HOST = "urllib.error.URLError: <urlopen error [Errno -2] Name or service not known>"
REFUSED = "network: requests.exceptions.ConnectionError: a rehearsal has no network"
NO_STEP = "no-step: The script ended without a training step"
EXIT = "exited: The script left with SystemExit: exit code 2."


def plain(outcome: str, last_line: str = "", *, steps: int = 0, exit_code: int | None = 1) -> dict[str, Any]:
    return {"outcome": outcome, "last_line": last_line, "steps": steps, "backwards": steps, "exit_code": exit_code}


@pytest.mark.parametrize(
    ("reason", "control", "is_ours"),
    [
        (f"exception: {INDEX}", plain("fails", INDEX), False),
        (f"exception: {INDEX}", plain("fails", "IndexError: list index out of range"), True),
        (f"exception: {INDEX}", plain("trains", steps=2, exit_code=0), True),
        (f"exception: {INDEX}", plain("still runs", exit_code=None), True),
        (f"exception: {INDEX}", plain("wants a GPU", NO_GPU), True),
        (
            "exception: NameError: name 'a' is not defined",
            plain("fails", "NameError: name 'a' is not defined. Did you mean: 'b'?"),
            False,
        ),
        (f"missing-package: {NO_X}", plain("fails", NO_X), False),
        (REFUSED, plain("fails", NO_HOST), False),
        (REFUSED, plain("fails", "TypeError: 'module' object is not callable"), True),
        (NO_STEP, plain("ends", exit_code=0), False),
        (NO_STEP, plain("trains", steps=2, exit_code=0), True),
        (EXIT, plain("fails", "train.py: error: ...", exit_code=2), False),
        (EXIT, plain("fails", "KeyError: 1", exit_code=1), True),
        (
            "exception: ConnectionResetError: [Errno 104] reset",
            plain("fails", "BrokenPipeError: [Errno 32] Broken"),
            False,
        ),
        (
            "exception: AttributeError: '_SingleProcessDataLoaderIter' object has no attribute 'next'",
            plain("fails", "AttributeError: '_MultiProcessingDataLoaderIter' object has no attribute 'next'"),
            False,
        ),
        (
            "exception: AssertionError: tensor(0, device='cuda:0') invalid",
            plain("fails", "AssertionError: tensor(1) invalid"),
            False,
        ),
        ("timeout: The script was stopped", plain("fails", "KeyError: 1"), True),
    ],
)
def test_a_failure_is_ours_unless_the_control_fails_alike(reason: str, control: dict[str, Any], is_ours: bool) -> None:
    assert compatibility.counts({"result": "failed", "reason": reason, "plain": control}) is is_ours


def test_a_failure_without_a_control_is_ours() -> None:
    assert compatibility.counts({"result": "failed", "reason": f"exception: {INDEX}"})


def test_the_exception_is_found_before_what_libraries_print_at_exit() -> None:
    output = "Traceback ...\n  x[0]\nKeyError: 'a b'\nwarning: leaked semaphores\n"
    assert compatibility.exception_lines(output) == ["KeyError: 'a b'"]
    assert compatibility.exception_lines("usage: x\nx: error: no y\n") == ["x: error: no y"]
    assert compatibility.exception_lines("") == [""]


def test_any_exception_of_the_control_may_be_the_one() -> None:
    """A process that was lost says why in its own traceback, in any order."""
    control = {**plain("fails", "AttributeError: no seed"), "other_lines": ["BrokenPipeError: [Errno 32] Broken pipe"]}
    assert not compatibility.counts({"result": "failed", "reason": "exception: EOFError", "plain": control})
    assert compatibility.counts({"result": "failed", "reason": "exception: KeyError: 1", "plain": control})


@pytest.mark.slow
@pytest.mark.parametrize(("after_a_step", "code", "steps"), [("", 0, 2), ("    break\n", 0, 1), ("    {}[1]\n", 1, 1)])
def test_control_stops_after_two_steps(tmp_path: Path, after_a_step: str, code: int, steps: int) -> None:
    (tmp_path / "train.py").write_text(
        "import sys, torch\n"
        "assert __name__ == '__main__' and sys.argv == ['train.py', '--lr', '1']\n"
        "model = torch.nn.Linear(2, 2)\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=1.0)\n"
        "for step in range(10**9):\n"
        "    model(torch.ones(2)).sum().backward()\n"
        "    optimizer.step()\n" + after_a_step
    )
    done = control(tmp_path, "train.py", "--lr", "1")
    assert done.returncode == code, done.stderr
    assert json.loads((tmp_path / "counts.json").read_text())["steps"] == steps


@pytest.mark.slow
def test_control_of_a_notebook_skips_its_magics(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# title"]},
        {"cell_type": "code", "source": ["%matplotlib inline\n", "import torch\n"]},
        {"cell_type": "code", "source": ["w = torch.ones(3, requires_grad=True)\n", "while 1: w.sum().backward()"]},
    ]
    (tmp_path / "train.ipynb").write_text(json.dumps({"cells": cells}))
    assert control(tmp_path, "train.ipynb").returncode == 0
    assert json.loads((tmp_path / "counts.json").read_text()) == {"steps": 0, "backwards": 20}


@pytest.mark.slow
def test_control_takes_the_cpu_for_cuda(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(
        "import torch\n"
        "device = torch.device('cuda:0')\n"
        "model = torch.nn.Linear(2, 2).to(device).cuda()\n"
        "optimizer = torch.optim.SGD(model.parameters(), lr=1.0)\n"
        "for step in range(9):\n"
        "    model(torch.ones(2, device='cuda').to(device).cuda()).sum().backward()\n"
        "    optimizer.step()\n"
    )
    assert control(tmp_path, "train.py").returncode == 1
    assert control(tmp_path, "train.py", before=("--cuda-is-cpu",)).returncode == 0


def control(folder: Path, *words: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    program = str(ROOT / "benchmarks" / "compatibility_plain.py")
    command = [sys.executable, program, *before, "counts.json", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def test_page_counts_by_group_and_tells_runs_of_one_script_apart() -> None:
    good = {"repo": "a/b", "revision": "0" * 10, "script": "t.py", "args": "--model X --lr 1", "group": "list",
            "result": "ok", "reason": "", "seconds": 3.2, "peak_memory_bytes": 1 << 20, "counts": True}  # fmt: skip
    late = {**good, "args": "--model Y --lr 1", "group": "outside", "first": {"result": "failed", "reason": "x"}}
    bad = {**good, "script": "u.py", "group": "outside", "result": "failed", "reason": f"exception: {INDEX}",
           "plain": plain("fails", INDEX), "counts": False}  # fmt: skip
    about = {"date": "2026-01-01", "python": "3.11", "machine": "a machine", "gpu": "h100-sxm-80gb", "packages": {}}
    text = compatibility_page.page({"about": about, "results": [good, late, bad]})
    assert "| outside: chosen before anyone ran them; some were then fixed | 2 | 1 | 1 | 100 % | 0 (0 %) |" in text
    assert "| all | 3 | 2 | 2 | 100 % |" in text
    assert "`t.py` (Y) | 1.0 MiB | 3 | failed when first tried |" in text
    assert "fails in the same way |" in text
