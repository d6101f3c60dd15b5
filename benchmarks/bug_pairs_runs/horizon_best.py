"""Train HorizonNet on invented panoramas by the project's script, then load the best checkpoint and score it.

fix: 846a6506
depth: live 60
expects: -
where: program
stands in: the data set, torchvision (a small network in place of its ResNet), tensorboardX
"""

import runpy
import sys
import tempfile

import numpy as np
import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import Dataset


class Panoramas(Dataset):
    def __init__(self, root_dir, flip, rotate, gamma, stretch):
        self.seeds = range(12) if root_dir == "train" else range(100, 106)

    def __len__(self):
        return len(self.seeds)

    def __getitem__(self, index):
        rng = np.random.default_rng(self.seeds[index])
        columns = np.arange(1024)
        corners = np.sort(rng.choice(16, 4, replace=False)) * 64 + 32
        distance = np.min([abs(columns - corner - turn) for corner in corners for turn in (-1024, 0, 1024)], axis=0)
        height = 0.5 + 0.2 * np.cos(columns / 1024 * 2 * np.pi * 4 + rng.uniform(0, 6))
        bound = np.stack([-height, height])
        rows = (np.arange(512)[:, None] + 0.5) / 512 * np.pi - np.pi / 2
        wall = (rows > bound[0]) & (rows < bound[1])
        picture = np.stack([wall * 0.6, (rows < 0) * 0.5 + 0 * wall, np.exp(-distance / 20) * wall])
        picture = picture + rng.normal(0, 0.05, picture.shape)
        return tuple(torch.tensor(x, dtype=torch.float32) for x in (picture, bound, 0.96 ** distance[None]))


class Backbone(nn.Module):
    def __init__(self, pretrained):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 8, 5, 2, 2), nn.BatchNorm2d(8), nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        sizes = [(8, 16, 1), (16, 32, 2), (32, 64, 2), (64, 64, 2)]
        layers = [nn.Sequential(nn.Conv2d(a, b, 3, s, 1), nn.BatchNorm2d(b), nn.ReLU()) for a, b, s in sizes]
        self.layer1, self.layer2, self.layer3, self.layer4 = layers
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(64, 10)


class SummaryWriter:
    def __init__(self, log_dir):
        pass

    def add_scalar(self, name, value, step):
        if name == "valid/score":
            print(f"epoch {step}: {name} {value:.4f}")


stand_in("torchvision", models=stand_in("torchvision.models", resnet18=Backbone))
stand_in("tensorboardX", SummaryWriter=SummaryWriter)
stand_in("dataset", PanoCorBonDataset=Panoramas)

folder = tempfile.mkdtemp()
sys.argv = ["train.py", "--id", "rooms", "--ckpt", folder, "--logs", folder, "--backbone", "resnet18", "--no_rnn"]
sys.argv += ["--train_root_dir", "train", "--valid_root_dir", "valid", "--num_workers", "0", "--no_cuda"]
sys.argv += ["--batch_size_train", "4", "--epochs", "3", "--lr", "0.01", "--save_every", "1"]
script = runpy.run_path("train.py", run_name="__main__")

net = script["load_trained_model"](script["HorizonNet"], f"{folder}/rooms/best_valid.pth")
net.eval()
scores = []
with torch.no_grad():
    for batch in script["loader_valid"]:
        scores.append(script["feed_forward"](net, *batch)["score"].item())
print(f"score of the best checkpoint: {sum(scores) / len(scores):.4f}")
