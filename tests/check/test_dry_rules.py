"""Dry rules on tapes of real and virtual steps."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from trainworthy import rehearse
from trainworthy.check.dry import dry_findings

PROGRAM = """\
import torch
from torch import nn
import torch.nn.functional as F
def make():
    model = nn.Linear(6, 1).to("cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    def step():
        x, y = torch.randn(7, 6, device="cuda"), torch.randn(7, device="cuda")
        {loss}
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return step
"""
CASES = {
    "subtracted": ("loss = ((model(x) - y) ** 2).mean()", [("TW101", 9)]),
    "mse": ("loss = F.mse_loss(model(x), y)", [("TW101", 9)]),
    "smooth": ("loss = F.smooth_l1_loss(model(x), y)", [("TW101", 9)]),
    "squeezed": ("loss = F.mse_loss(model(x).squeeze(1), y)", []),
    "column": ("loss = F.mse_loss(model(x), y.unsqueeze(1))", []),
    "pairs": ("p = model(x).squeeze(1); loss = (p.unsqueeze(1) - p).pow(2).mean() + (p - y).pow(2).mean()", []),
    "table": (
        "t = torch.ones(7, 1, device='cuda') * torch.rand(7, device='cuda'); loss = (model(x) * t).mean()",
        [],
    ),
    "read": (
        "loss = sum(model(x)[i, 0].item() * 0 for i in range(3)) + (model(x).squeeze(1) - y).pow(2).mean()",
        [("TW754", 9)],
    ),
    "double": ("model.double(); loss = (model(x.double()).squeeze(1) - y).pow(2).mean()", [("TW756", 9)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_line_is_found_and_its_look_alike_is_not(name: str, tmp_path: Path) -> None:
    loss, expected = CASES[name]
    script, source = tmp_path / "train.py", PROGRAM.replace("{loss}", loss)
    script.write_text(source, encoding="utf-8")
    names: dict[str, Any] = {}
    exec(compile(source, str(script), "exec"), names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of some of these itself
        result = rehearse(names["make"], steps=2)
    assert result.error is None
    found = [(f.code, f.place.line) for f in dry_findings(result.tape)]
    assert found == expected
    listed = [(f.get("code"), f.get("line")) for f in result.findings]
    assert all(each in listed for each in expected)
