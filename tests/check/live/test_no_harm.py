"""The guard changes nothing: not one bit of a training, and nothing of torch once it is gone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from check.live.programs import PROGRAMS
from check.live.run import guarded, plainly, same
from trainworthy.check.live.collectives import SEAMS as COLLECTIVES

optimizer_hooks: Any = sys.modules["torch.optim.optimizer"]  # torch.optim hides the module of that name
SEAMS: dict[str, Callable[[], Any]] = {
    "call": lambda: nn.Module.__call__,
    "load": lambda: nn.Module.load_state_dict,
    "compile": lambda: nn.Module.compile,
    "torch.compile": lambda: torch.compile,
    "backward": lambda: (torch.autograd.backward, torch.Tensor.backward),
    "scale": lambda: torch.amp.GradScaler.scale,
    "unscale": lambda: torch.amp.GradScaler.unscale_,
    "step": lambda: torch.amp.GradScaler.step,
    "clip": lambda: torch.nn.utils.clip_grad._clip_grads_with_norm_,
    "iter": lambda: DataLoader.__iter__,
    "next": lambda: _BaseDataLoaderIter.__next__,
    "modes": torch._C._len_torch_function_stack,
    "apply": lambda: nn.Module.apply,
    "attributes": lambda: nn.Module.__setattr__,
    "save": lambda: torch.save,
    "autocast": lambda: (torch.autocast.__enter__, torch.autocast.__exit__),
    "collectives": lambda: [torch.distributed.ProcessGroup.__dict__.get(name) for name in COLLECTIVES],
    "pre-hooks": lambda: len(optimizer_hooks._global_optimizer_pre_hooks),
    "post-hooks": lambda: len(optimizer_hooks._global_optimizer_post_hooks),
}


@pytest.mark.parametrize(("name", "steps"), [*((name, 20) for name in PROGRAMS), ("plain", 2), ("scaler", 2)])
def test_training_is_the_same_to_the_last_bit(name: str, steps: int, tmp_path: Path) -> None:
    expected = plainly(PROGRAMS[name], tmp_path / "plain.py")["result"]
    compiles = name == "compiled"
    if compiles:
        torch._dynamo.reset()
    guard, names = guarded(PROGRAMS[name], tmp_path / "guarded.py", steps=steps)
    if compiles:
        torch._dynamo.reset()  # a process that compiles is looked at less closely
    assert all(same(a, b) for a, b in zip(expected, names["result"], strict=True))
    assert [(f.code, f.message) for f in guard.findings] == []


def test_nothing_is_left_when_the_window_is_over(tmp_path: Path) -> None:
    before = {name: seam() for name, seam in SEAMS.items()}
    source = PROGRAMS["plain"].replace(
        "    losses.append", "    during.append({k: s() for k, s in SEAMS.items()})\n    losses.append"
    )
    source = source.replace("losses = []", "losses, during = [], []\nfrom check.live.test_no_harm import SEAMS")
    _, names = guarded(source, tmp_path / "program.py", steps=3)
    assert names["during"][0]["call"] is not before["call"]
    assert names["during"][-1] == before
    assert {name: seam() for name, seam in SEAMS.items()} == before


@pytest.mark.parametrize("where", ["forward", "backward", "step"])
def test_an_exception_takes_the_guard_out_and_is_not_hidden(where: str, tmp_path: Path) -> None:
    before = {name: seam() for name, seam in SEAMS.items()}
    body = {
        "forward": "class Bad(nn.Linear):\n    def forward(self, x):\n        raise KeyError('here')\n"
        "Bad(2, 2)(torch.ones(2))",
        "backward": "x = nn.Parameter(torch.ones(2))\nx.register_hook(lambda g: {}['here'])\nx.sum().backward()",
        "step": "class Bad(torch.optim.SGD):\n    def step(self, closure=None):\n        raise KeyError('here')\n"
        "p = nn.Parameter(torch.ones(2))\np.sum().backward()\nBad([p], lr=0.1).step()",
    }[where]
    with pytest.raises(KeyError, match="here"):
        guarded(f"import torch\nfrom torch import nn\n{body}\n", tmp_path / "program.py")
    assert {name: seam() for name, seam in SEAMS.items()} == before
