"""Train and test by the project's own example of meta learning, on characters of random numbers and on the CPU.

fix: f06986c9
depth: live 60
expects: -
where: program
stands in: pandas and matplotlib (the plot), the loader of Omniglot
"""

from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import torch
from stand_ins import load, stand_in
from torch import nn, optim


class OmniglotNShot:
    def __init__(self, batchsz, n_way, k_shot, k_query):
        self.batchsz, self.n_way, self.shots = batchsz, n_way, (k_shot, k_query)
        self.x_train, self.x_test = torch.rand(16, 1, 28, 28), torch.rand(8, 1, 28, 28)

    def next(self, mode="train"):
        characters = self.x_train if mode == "train" else self.x_test
        chosen = torch.stack([torch.randperm(len(characters))[: self.n_way] for _ in range(self.batchsz)])
        batch = []
        for shots in self.shots:
            labels = torch.stack([torch.arange(self.n_way).repeat(shots) for _ in range(self.batchsz)])
            images = characters[chosen.gather(1, labels)]
            batch += [images + 0.1 * torch.randn_like(images), labels]
        return batch


def ignore(*args, **kwargs):
    pass


pyplot = stand_in("matplotlib.pyplot", style=SimpleNamespace(use=ignore))
stand_in("matplotlib", use=ignore, pyplot=pyplot)
stand_in("pandas").__spec__ = ModuleSpec("pandas", None)
stand_in("support.omniglot_loaders")
example = load("examples/maml-omniglot.py", "maml_omniglot")

torch.manual_seed(1)
device = torch.device("cpu")
db = OmniglotNShot(batchsz=4, n_way=5, k_shot=2, k_query=3)
blocks = []
for channels in (1, 16, 16):
    blocks += [
        nn.Conv2d(channels, 16, 3),
        nn.BatchNorm2d(16, momentum=1, affine=True),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2, 2),
    ]
net = nn.Sequential(*blocks, example.Flatten(), nn.Linear(16, db.n_way)).to(device)
meta_opt = optim.Adam(net.parameters(), lr=1e-3)
log = []
for epoch in range(3):
    example.train(db, net, device, meta_opt, epoch, log)
    example.test(db, net, device, epoch, log)
