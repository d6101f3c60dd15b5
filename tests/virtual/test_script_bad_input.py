"""Whatever a script does ends in one clear answer; its exit code is the command line's."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainworthy._api.rehearse import rehearse
from trainworthy.errors import UnknownGpuError, UsageError
from trainworthy.inspect import RehearsalResult
from trainworthy.virtual.script_parent import Log

GPU = "h100-sxm-80gb"
LOOP = """
import torch
model = torch.nn.Linear(3, 3).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(1000):
    model(torch.ones(2, 3, device="cuda")).sum().backward()
    optimizer.step()
"""


def run(folder: Path, text: str, name: str = "train.py", **options: object) -> RehearsalResult:
    path = folder / name
    path.write_text(text)
    before, here = tree_hash(folder), Path.cwd()
    os.chdir(folder)
    try:
        result = rehearse(name, gpu=GPU, **options)  # type: ignore[arg-type]
    finally:
        os.chdir(here)
    assert tree_hash(folder) == before, "the user's folder was changed"
    return result


def tree_hash(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def error_of(result: RehearsalResult) -> dict[str, object]:
    assert result.verdict == "failed"
    assert result.error is not None
    return dict(result.error)


def test_script_that_raises_shows_line_shapes_and_where_tensors_were_made(tmp_path: Path) -> None:
    error = error_of(run(tmp_path, (
        "import torch\n"
        "layer = torch.nn.Linear(10, 5).cuda()\n"
        "x = torch.randn(4, 20, device='cuda')\n"
        "y = layer(x)\n"
    )))  # fmt: skip
    assert (error["kind"], error["path"], error["line"]) == ("exception", "train.py", 4)
    assert "(4x20 and 10x5)" in str(error["message"])
    tensors = error["tensors"]
    assert isinstance(tensors, list)
    assert "x: float32[4, 20] on cuda:0, made at train.py:3" in tensors
    assert "layer.weight: float32[5, 10] on cuda:0, made at train.py:2" in tensors


def test_script_that_never_steps(tmp_path: Path) -> None:
    result = run(tmp_path, "print('nothing to do')\n")
    assert error_of(result)["kind"] == "no-step"
    assert result.log_tail == "nothing to do"


def test_script_that_loops_for_ever_keeps_what_was_seen(tmp_path: Path) -> None:
    endless = LOOP.replace("range(1000)", "range(1)") + "while True:\n    pass\n"
    started = time.monotonic()
    result = run(tmp_path, endless, time_limit_s=1.5)
    error = error_of(result)
    assert error["kind"] == "timeout"
    assert error["line"] in {8, 9}
    assert result.steps == 1
    assert result.peak_memory_bytes > 0
    assert time.monotonic() - started < 20


def test_script_that_aborts(tmp_path: Path) -> None:
    error = error_of(run(tmp_path, "import os\nprint('last words')\nos.abort()\n"))
    assert (error["kind"], error["path"], error["line"]) == ("aborted", "train.py", 3)
    assert "SIGABRT" in str(error["message"])


def test_script_that_calls_os_exit(tmp_path: Path) -> None:
    error = error_of(run(tmp_path, "import os\nos._exit(3)\n"))
    assert (error["kind"], error["line"]) == ("exited", 2)
    assert "os._exit(3)" in str(error["message"])


def test_script_with_wrong_arguments_shows_its_own_usage(tmp_path: Path) -> None:
    text = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', required=True)\np.parse_args()\n"
    result = run(tmp_path, text)
    assert error_of(result)["kind"] == "exited"
    assert "the following arguments are required: --x" in str(result.log_tail)


def test_script_that_prints_without_end_fills_no_disk(tmp_path: Path) -> None:
    logs: list[Log] = []
    text = "line = 'x' * 1023 + '\\n'\nfor _ in range(32 * 1024):\n    print(line, end='')\nprint('the end')\n"
    result = run(tmp_path, text, on_log=logs.append)
    assert result.log_tail is not None
    assert result.log_tail.endswith("the end")
    assert len(logs[0].text()) < 2 << 20
    assert logs[0].dropped_bytes > 28 << 20


def test_script_that_reads_standard_input(tmp_path: Path) -> None:
    error = error_of(run(tmp_path, "size = int(input('batch size? '))\n"))
    assert (error["kind"], error["line"]) == ("stdin", 1)
    assert "argument" in str(error["fix"])


def test_script_that_forks_and_swallows_everything_still_ends(tmp_path: Path) -> None:
    text = "import os, sys\nif os.fork() == 0:\n    sys.exit(7)\nos.wait()\n" + LOOP.replace(
        "    model(", "    try:\n     model("
    ).replace("    optimizer.step()", "     optimizer.step()\n    except:\n     pass")
    result = run(tmp_path, text)
    assert result.verdict == "fits"
    assert result.steps == 2


def test_script_that_needs_an_absent_package(tmp_path: Path) -> None:
    error = error_of(run(tmp_path, "import torch\nimport no_such_package_anywhere.sub\n"))
    assert (error["kind"], error["line"]) == ("missing-package", 2)
    assert error["fix"] == "pip install no_such_package_anywhere"


def test_script_with_a_syntax_error(tmp_path: Path) -> None:
    error = error_of(run(tmp_path, "x = 1\ndef f(:\n"))
    assert (error["path"], error["line"]) == ("train.py", 2)


def test_more_memory_than_the_gpu_has_is_an_answer(tmp_path: Path) -> None:
    result = run(tmp_path, LOOP.replace("Linear(3, 3)", "Linear(200_000, 200_000)").replace("2, 3", "2, 200_000"))
    assert result.verdict == "does-not-fit"
    assert result.error is None
    assert result.peak_memory_bytes > 300e9
    assert (result.host_peak_bytes or 0) < 2 << 30


def test_script_that_deletes_its_own_folder(tmp_path: Path) -> None:
    text = (
        "import os, shutil\n"
        "here = os.path.dirname(os.path.abspath(__file__))\n"
        "shutil.rmtree(here)\n"
        "assert not os.path.exists(here)\n" + LOOP
    )
    result = run(tmp_path, text)  # run() compares the folder before and after
    assert result.verdict == "fits"
    assert [e["kind"] for e in result.effects] == ["delete"]


def test_script_without_network_says_what_it_wanted(tmp_path: Path) -> None:
    text = "import urllib.request\nurllib.request.urlopen('http://data.example.org/set.zip')\n"
    error = error_of(run(tmp_path, text))
    assert error["kind"] == "network"
    assert "data.example.org" in str(error["message"])


# --- wrong use: exit code 2, one message, nothing started ---------------------------------------------------------


def test_missing_file_suggests_a_similar_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    with pytest.raises(UsageError, match=r"no file .*trian\.py(.|\n)*Did you mean .*train\.py"):
        rehearse(tmp_path / "trian.py")


def test_folder_and_binary_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_bytes(b"\x7fELF\0\0")
    with pytest.raises(UsageError, match="binary"):
        rehearse(tmp_path / "model.py")
    with pytest.raises(UsageError, match=r"folder(.|\n)*model\.py"):
        rehearse(tmp_path)


def test_unknown_gpu_lists_the_rows(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("")
    with pytest.raises(UnknownGpuError, match="h100-sxm-80gb"):
        rehearse(tmp_path / "train.py", gpu="h1000")


@pytest.mark.parametrize(("number", "code", "said"), [
    (signal.SIGINT, 130, "interrupted"),
    (signal.SIGTERM, 143, ""),
    (signal.SIGHUP, 129, ""),
], ids=lambda value: getattr(value, "name", ""))  # fmt: skip
def test_a_signal_ends_the_child_and_leaves_nothing(
    number: signal.Signals, code: int, said: str, tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text("import time\ntime.sleep(60)\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    # A shell that runs the tests in the background has told them to ignore these, and children inherit that.
    start = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); signal.signal(signal.SIGTERM, signal.SIG_DFL)\n"
        "runpy.run_module('trainworthy', run_name='__main__', alter_sys=True)"
    )
    command = [sys.executable, "-c", start, "rehearse", "--format", "json", str(script)]
    env = {**os.environ, "TMPDIR": str(scratch)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(scratch.glob("*/progress.json")):
        time.sleep(0.1)
    assert list(scratch.glob("*/progress.json"))
    children = Path("/proc", str(process.pid), "task", str(process.pid), "children").read_text().split()
    assert children
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert (out, err.strip()) == ("", said)
    assert not list(scratch.iterdir())
    assert not [pid for pid in children if Path("/proc", pid).exists()]


def test_command_line_prints_json_and_leaves_with_one(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(LOOP.replace("(2, 3,", "(2, 4,"))
    command = [sys.executable, "-m", "trainworthy", "rehearse", "--gpu", GPU, "--format", "json", "train.py"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert result["verdict"] == "failed"
    assert set(result["error"]) >= {"kind", "message", "path", "line"}
    assert result["error"]["line"] == 6
