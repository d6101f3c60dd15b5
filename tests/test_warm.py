"""A rehearsal whose child was forked from a server says what one says whose child was started anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trainworthy as tw
from warm import Child

SCRIPT = """\
import os, random, sys, tempfile
import multiprocessing
import neighbour
import torch

print("said", neighbour.name, sys.argv, sys.path[0] == os.path.dirname(os.path.abspath(__file__)), __name__)
print("said", __file__, os.environ["RUN"], tempfile.gettempdir().rpartition("/")[2], sys.stdin.read() == "")
print("said", multiprocessing.current_process().name, "torch._dynamo" in sys.modules)
print("said on the other stream", file=sys.stderr)
print("seeds", torch.initial_seed(), random.random())
model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Dropout(), torch.nn.Linear(32, 4)).cuda()
optimizer = torch.optim.AdamW(model.parameters())
open("left.txt", "w").write("nothing")
for _ in range(5):
    loss = model(torch.randn(8, 16, device="cuda")).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
torch.save(model.state_dict(), "model.pt")
"""


def rehearsed(script: str, **options: Any) -> tuple[dict[str, Any], list[str]]:
    logs: list[Any] = []
    result = tw.rehearse(script, gpu="h100-sxm-80gb", on_log=logs.append, **options)
    # How much memory and time the child took is its own.
    notes = {k: v for k, v in result.tape.notes.items() if k not in ("seconds", "host_peak_bytes")}
    lines = logs[0].text().splitlines()
    seeds = next(line for line in lines if line.startswith("seeds"))
    return {"notes": notes, "ops": list(result.tape.ops), "memory": result.memory_by_kind_bytes, "seeds": seeds}, [
        line for line in lines if line.startswith("said")
    ]


@pytest.mark.parametrize("world_size", [None, 2])
def test_a_fork_and_a_new_process_say_the_same(
    world_size: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "train.py").write_text(SCRIPT, encoding="utf-8")
    (tmp_path / "neighbour.py").write_text("name = 'beside'\n", encoding="utf-8")
    options: dict[str, Any] = {"args": ("--lr", "1"), "world_size": world_size}
    if world_size is not None:
        options["rank"] = 1
    monkeypatch.setenv("RUN", "this")
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        cold, cold_said = rehearsed("train.py", **options)
        patch.setattr("trainworthy.virtual.script_parent.start_child", Child)
        warm, warm_said = rehearsed("train.py", **options)
        another, _ = rehearsed("train.py", **options)
    assert len(cold_said) == 4
    assert warm_said == cold_said
    assert len({run.pop("seeds") for run in (cold, warm, another)}) == 3  # each draws numbers of its own
    assert warm == cold
    assert warm["notes"]["error"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["neighbour.py", "train.py"]


def test_how_a_fork_ends_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainworthy.virtual.script_parent.start_child", Child)
    script = tmp_path / "train.py"
    script.write_text(
        "import os, signal\nprint('last words')\nos.kill(os.getpid(), signal.SIGABRT)\n", encoding="utf-8"
    )
    result = tw.rehearse(script)
    error = result.error
    assert error is not None
    assert error["kind"] == "aborted"
    assert "SIGABRT" in error["message"]
    assert result.tape.notes["log_tail"] == "last words"
    script.write_text("while True:\n    pass\n", encoding="utf-8")
    error = tw.rehearse(script, time_limit_s=1.0).error
    assert error is not None
    assert error["kind"] == "timeout"
