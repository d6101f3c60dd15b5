"""Evaluation mode that stays is a hint where a model's layers are known to be the same in both modes."""

from __future__ import annotations

import pytest

from trainworthy.check.config import Config
from trainworthy.check.run import check_file, collect
from trainworthy.check.static.project import Project

PROGRAM = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = {body}

    def forward(self, x):
        return {out}


model = {model}
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for epoch in range(3):
    optimizer.zero_grad()
    model(torch.rand(8, 4)).mean().backward()
    optimizer.step()
    model.eval()
    with torch.no_grad():
        print(model(torch.rand(8, 4)).mean())
"""
LAYERS = "nn.Sequential(nn.Linear(4, 4), nn.ReLU())"


@pytest.mark.parametrize(
    ("parts", "severity"),
    [
        ({}, "hint"),
        ({"model": LAYERS}, "hint"),
        ({"body": "nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.1))"}, "error"),
        ({"body": "nn.LSTM(4, 4, 2, dropout=0.1)", "out": "self.body(x)[0]"}, "error"),
        ({"body": "made_elsewhere(4)"}, "error"),
        ({"out": "nn.functional.dropout(self.body(x), 0.1, self.training)"}, "error"),
        ({"model": "nn.Sequential(*layers)"}, "error"),
    ],
)
def test_severity_of_evaluation_mode_that_stays(parts: dict[str, str], severity: str) -> None:
    program = PROGRAM.format(**{"body": LAYERS, "out": "self.body(x)", "model": "Net()"} | parts)
    config = Config(select=("TW313",))
    result = collect([check_file("program.py", config, data=program.encode(), project=Project())], config)
    assert [one.severity for one in result.findings] == [severity]
