"""The mistakes of a notebook on distributed training, each in two styles, as the command finds them.

Those of two real ranks (buffers that a module computes itself, gathers of different sizes) stand in
``live/test_replicas.py``; here they are looked for in the source and on a rehearsal.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainworthy.cli.main import main

STATIC = {
    "TW304 one instance in a list": """
import torch
from torch import nn

layer = nn.Linear(8, 8)
model = nn.ModuleList([layer for _ in range(4)])  # <-
""",
    "TW304 one instance times n": """
import torch.nn as nn


class Net(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8)] * depth)  # <-

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


net = Net(6)
""",
    "TW416 a rank that is text, compared": """
import os
import torch

local_rank = os.environ["LOCAL_RANK"]
if local_rank == 0:  # <-
    print("first")
""",
    "TW416 a rank that is text, as a device": """
import os
from torch import cuda

rank = os.environ.get("LOCAL_RANK", "0")
cuda.set_device(rank)  # <-
""",
    "TW417 args that is no tuple": """
import torch
import torch.multiprocessing as mp


def work(rank, world_size):
    print(rank, world_size)


if __name__ == "__main__":
    world_size = 2
    mp.spawn(work, args=(world_size), nprocs=world_size)  # <-
""",
    "TW417 args that is a number": """
from torch.multiprocessing import spawn


def main(rank, size):
    pass


if __name__ == "__main__":
    spawn(main, args=(4), nprocs=4)  # <-
""",
    "TW415 all devices for one process": """
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

model = nn.Linear(4, 4).cuda()
model = DistributedDataParallel(model, device_ids=list(range(torch.cuda.device_count())))  # <-
""",
    "TW415 two devices": """
import torch

net = torch.nn.Linear(4, 4)
ddp = torch.nn.parallel.DistributedDataParallel(net, device_ids=[0, 1])  # <-
""",
    "TW103 and between comparisons of tensors": """
import torch

a = torch.rand(10)
inside = (a > 0) and (a < 1)  # <-
""",
    "TW103 and between comparisons of arrays": """
import numpy as np

values = np.random.rand(10)
if (values > 0).any():
    mask = values[(values > 0) and (values < 0.5)]  # <-
""",
    "TW901 a positional argument after a keyword": """
import torch
import torch.distributed as dist

out = torch.zeros(2)
dist.scatter(out, src=0, [torch.ones(2)])  # <-
""",
    "TW901 the same of a tensor's method": """
import torch

out = torch.zeros(2, 2)
out.scatter_(dim=0, torch.tensor([[0, 1]]), 1.0)  # <-
""",
    "TW201 softmax before cross-entropy, in the model": """
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
criterion = nn.CrossEntropyLoss()
loss = criterion(model(torch.rand(8, 4)), torch.zeros(8).long())  # <-
""",
    "TW201 softmax before cross-entropy, as functions": """
import torch
import torch.nn.functional as F

scores = torch.nn.Linear(4, 3)(torch.rand(8, 4))
probabilities = scores.softmax(-1)
loss = F.cross_entropy(probabilities, torch.zeros(8).long())  # <-
""",
    "TW402 no set_epoch": """
import torch
from torch.utils.data import DataLoader, DistributedSampler

data = torch.rand(64, 4)
sampler = DistributedSampler(data, num_replicas=2, rank=0)  # <-
loader = DataLoader(data, 8, sampler=sampler)
for epoch in range(4):
    for batch in loader:
        print(batch.sum())
""",
    "TW402 no set_epoch, in functions": """
import torch
import torch.utils.data as data


def make(rows):
    sampler = data.distributed.DistributedSampler(rows, shuffle=True)  # <-
    return data.DataLoader(rows, batch_size=8, sampler=sampler)


def main():
    loader = make(torch.rand(64, 4))
    for epoch in range(4):
        for batch in loader:
            print(batch.sum())


main()
""",
    "TW412 BatchNorm of each rank": """
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8))
wrapped = DistributedDataParallel(model)  # <-
""",
    "TW412 BatchNorm of each rank, in a class": """
import torch
import torch.nn as nn
from torch.nn.parallel import DistributedDataParallel as DDP


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)

    def forward(self, x):
        return self.bn(self.conv(x))


model = DDP(Net().cuda(), device_ids=[0])  # <-
""",
    "TW318 a layer that came after the optimizer": """
import torch
from torch import nn

model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
optimizer = torch.optim.Adam(model.parameters())
model.head = nn.Linear(8, 3)  # <-
""",
    "TW318 a layer that came after the optimizer, in a function": """
import torch.nn as nn
import torch.optim as optim


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.fc = nn.Linear(4, 8), nn.Linear(8, 1000)

    def forward(self, x):
        return self.fc(self.body(x))


def main():
    net = Net()
    opt = optim.SGD(net.parameters(), lr=0.1)
    net.fc = nn.Linear(8, 10)  # <-
    return net, opt


main()
""",
}
LIVE = {
    "TW351 an optimizer of the model before it was copied": """
import copy
import torch
from torch import nn

model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)  # <-
model = copy.deepcopy(model)
for step in range(4):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
""",
    "TW353 an optimizer of half of what trains, whatever was made first": """
import torch
from torch import nn

body, head = nn.Linear(4, 8), nn.Linear(8, 3)
optimizer = torch.optim.SGD(head.parameters(), lr=0.1)  # <-
model = nn.Sequential(body, nn.ReLU(), head)
for step in range(5):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    model.zero_grad()
    loss.backward()
    optimizer.step()
""",
}
NOT_A_BUG = """
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

dist.init_process_group("gloo")
model = nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
model = DistributedDataParallel(model)
for step in range(4):
    loss = nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.randint(3, (8,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


def found(words: list[str], path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> list[tuple[str, int]]:
    """Run the command on a program and return codes and lines."""
    path.write_text(text.lstrip("\n"), encoding="utf-8")
    main(["check", "--format", "json", "--isolated", *words, str(path)])
    return [(f["code"], f["line"]) for f in json.loads(capsys.readouterr().out)["findings"]]


def marked(text: str) -> list[int]:
    return [n for n, line in enumerate(text.lstrip("\n").splitlines(), start=1) if line.endswith("# <-")]


@pytest.mark.parametrize("name", STATIC)
def test_the_source_tells(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = name.partition(" ")[0]
    hits = found([], tmp_path / "train.py", STATIC[name], capsys)
    assert [line for c, line in hits if c == code] == marked(STATIC[name])


@pytest.mark.parametrize("name", LIVE)
def test_the_first_steps_tell(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        hits = found(["--live", "5"], Path("train.py"), LIVE[name], capsys)
    code = name.partition(" ")[0]
    assert [line for c, line in hits if c == code] == marked(LIVE[name])


def test_an_optimizer_made_before_the_wrapper_is_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found([], tmp_path / "train.py", NOT_A_BUG, capsys) == []
