"""What type checkers say of calls, and that nothing differs at run time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from trainworthy.train.typed import TypedModule

if TYPE_CHECKING:
    from typing_extensions import assert_type

SOURCE = Path(__file__).resolve().parents[2] / "src"
PROGRAM = """\
import torch
from torch import Tensor, nn
from trainworthy.train.typed import TypedModule


class Net(TypedModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor, *, scale: float = 1.0) -> tuple[Tensor, int]:
        return self.layer(x) * scale, 3


class Deeper(Net):
    pass


x = torch.ones(2)
reveal_type(Net()(x))
reveal_type(Deeper()(x, scale=2.0))
Net()(1)
Net()(x, scal=2.0)
Net()()
answer: int = Net()(x)
"""
WRONG = [22, 23, 24, 25]


class Net(TypedModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        return self.layer(x) * scale  # type: ignore[no-any-return]


def test_hooks_run_and_nothing_else_differs() -> None:
    net, calls = Net(), []
    net.register_forward_hook(lambda *_: calls.append(1))
    assert torch.equal(net(torch.ones(2), scale=2.0), net.forward(torch.ones(2)) * 2)
    assert calls == [1]
    assert "__call__" not in vars(TypedModule)


def test_pyright(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(SOURCE)]}))
    tool = Path(sys.executable).parent / "pyright"
    if not tool.exists():
        pytest.skip("pyright is not installed")
    command = [str(tool), "--pythonpath", sys.executable, "--outputjson", "-p", str(tmp_path)]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    told = [
        (each["severity"], each["range"]["start"]["line"] + 1, each["message"]) for each in found["generalDiagnostics"]
    ]
    revealed = [message for severity, _, message in told if severity == "information"]
    assert all(message.endswith('is "tuple[Tensor, int]"') for message in revealed)
    assert len(revealed) == 2
    assert [line for severity, line, _ in told if severity == "error"] == WRONG


def test_mypy() -> None:
    """Judged by the project's own mypy run: an ignore that is not needed is an error there, and so is a wrong type."""
    net = Net()
    if TYPE_CHECKING:
        assert_type(net(torch.ones(2), scale=2.0), Tensor)
        net(1)  # type: ignore[arg-type]
        net(torch.ones(2), scal=2.0)  # type: ignore[call-arg]
        net()  # type: ignore[call-arg]
    assert net(torch.ones(2)).shape == (2,)
