"""Mistakes that one file alone does not show: another one has the loop, or the layers."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from trainworthy.check.config import Config
from trainworthy.check.run import check_paths

DATA = """
    from torch.utils.data import DataLoader
    from torch.utils.data.distributed import DistributedSampler


    class Data:
        def __init__(self, train_set):
            train_sampler = DistributedSampler(train_set)
            self.train_loader = DataLoader(train_set, sampler=train_sampler)
    """
LOOP = """
    def fit(data, step):
        for epoch in range(9):
            for batch in data.train_loader:
                step(batch)
    """
NETWORK = """
    from torch import nn


    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))

        def forward(self, x):
            return self.body(x)
    """
TRAINER = """
    import torch


    class Trainer:
        def __init__(self, model, criterion, optimizer, loader, held_out):
            self.model, self.criterion, self.optimizer = model, criterion, optimizer
            self.loader, self.held_out = loader, held_out

        def epoch(self):
            self.model.train()
            for x, y in self.loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(x), y)
                loss.backward()
                self.optimizer.step()
            return self.validate()

        def validate(self):
            with torch.no_grad():
                return [self.criterion(self.model(x), y).item() for x, y in self.held_out]
    """
TOLD = LOOP.replace("epoch in range(9):", "epoch in range(9):\n            data.train_loader.sampler.set_epoch(epoch)")
JUDGED = TRAINER.replace("with torch.no_grad():", "self.model.eval()\n            with torch.no_grad():")


@pytest.mark.parametrize(
    ("project", "codes"),
    [
        ({"data.py": DATA, "loop.py": LOOP}, ["TW402"]),
        ({"data.py": DATA, "loop.py": TOLD}, []),
        ({"net.py": NETWORK, "trainer.py": TRAINER}, ["TW356"]),
        ({"net.py": NETWORK, "trainer.py": JUDGED}, []),
    ],
    ids=["epoch never told", "epoch told", "validated in training mode", "validated in evaluation mode"],
)
def test_is_found(project: dict[str, str], codes: list[str], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    for name, text in project.items():
        (tmp_path / name).write_text(dedent(text), encoding="utf-8")
    found = check_paths([str(tmp_path)], Config()).findings
    assert [one.code for one in found if one.severity != "hint"] == codes
