"""Run the project's training script for the VQ-VAE on invented pictures.

fix: 2c574b57
depth: live 60
expects: -
where: program
stands in: torchvision with its CIFAR-10
"""

import os
import runpy
import sys
import tempfile

import torch
from stand_ins import stand_in
from torch.utils.data import Dataset


class CIFAR10(Dataset):
    def __init__(self, root, train=True, download=False, transform=None):
        count = 64
        colours = torch.rand(count, 3, 1, 1)
        stripes = torch.rand(count, 1, 1, 32)
        self.images = (0.7 * colours * stripes + 0.3 * torch.rand(count, 3, 32, 32)).clamp(0, 0.999)
        self.labels = torch.randint(0, 10, (count,))
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index]), int(self.labels[index])


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, picture):
        for transform in self.transforms:
            picture = transform(picture)
        return picture


class ToTensor:
    def __call__(self, picture):
        return picture


torch.manual_seed(0)
stand_in("torchvision")
stand_in("torchvision.datasets", CIFAR10=CIFAR10)
stand_in("torchvision.transforms", Compose=Compose, ToTensor=ToTensor)
stand_in("torchvision.utils", make_grid=lambda pictures: pictures[0])

script = os.path.abspath("train.py")
sys.path.insert(0, os.path.dirname(script))
os.chdir(tempfile.mkdtemp())
sys.argv = ["train.py", "--num-workers", "0", "--channels", "16", "--latent-dim", "2", "--num-embeddings", "16"]
sys.argv += ["--embedding-dim", "4", "--batch-size", "16", "--num-training-steps", "7"]
runpy.run_path(script, run_name="__main__")
