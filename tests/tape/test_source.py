from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tape.scripts_of_ten_lines import SCRIPTS
from trainworthy.tape.record import Op, Tape
from trainworthy.tape.recorder import Recorder
from trainworthy.tape.source import SourceFinder
from trainworthy.virtual.gpu import VirtualGpu

_VIEWS = {
    "t",
    "detach",
    "view",
    "expand",
    "select",
    "unsqueeze",
    "alias",
    "as_strided",
    "slice",
    "transpose",
    "squeeze",
}


def record(folder: Path, script: str, device: str) -> Tape:
    path = folder / "train.py"
    path.write_text(script)
    finder = SourceFinder(base=str(folder))
    if device == "cpu":
        with Recorder(finder=finder) as recorder:
            runpy.run_path(str(path), {"device": "cpu"})
        return recorder.tape(device="cpu")
    with VirtualGpu(finder=finder) as gpu:
        runpy.run_path(str(path), {"device": "cuda"})
    return gpu.tape()


def lines(ops: list[Op]) -> list[tuple[str, str, str, int]]:
    return [(op.phase, op.name, op.module or "-", op.source.line) for op in ops if op.name.split(".")[0] not in _VIEWS]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_phase_module_and_line_of_every_operation(name: str, device: str, tmp_path: Path) -> None:
    script, text = SCRIPTS[name]
    tape = record(tmp_path, script, device)
    expected = [
        (p, op, module, int(line)) for p, op, module, line in (row.split() for row in text.strip().splitlines())
    ]
    assert lines([op for op in tape.ops if op.step == 1]) == expected
    for op in tape.ops:
        assert op.source.path == "train.py", op
        assert op.phase in {"data", "other"} or op.step == 1
