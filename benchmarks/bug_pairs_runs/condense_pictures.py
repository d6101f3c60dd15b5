"""Condense a small set of pictures into ten per class in two experiments with the project's script.

fix: ca00ffaf
depth: live 60
expects: -
where: program
stands in: torchvision with its data set, an old name of scipy's rotate
"""

import runpy
import sys
import tempfile

import numpy as np
import scipy.ndimage
import torch
from stand_ins import stand_in
from torch.utils.data import Dataset


class Pictures(Dataset):
    classes = tuple("0123456789")

    def __init__(self, path, train, download, transform):
        generator = torch.Generator().manual_seed(int(train))
        patterns = torch.rand(10, 3, 4, 4, generator=torch.Generator().manual_seed(9))
        self.labels = torch.arange(160 if train else 60) % 10
        base = torch.nn.functional.interpolate(patterns, size=32, mode="bilinear", align_corners=False)[self.labels]
        self.pictures = base + 0.4 * torch.randn(base.shape, generator=generator) - 0.5

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.pictures[index], int(self.labels[index])


stand_in("torchvision", datasets=stand_in("torchvision.datasets", CIFAR10=Pictures))
stand_in("torchvision.transforms")
stand_in("torchvision.utils", save_image=lambda *args, **kwargs: None)
stand_in("scipy.ndimage.interpolation", rotate=scipy.ndimage.rotate)
sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]

np.random.seed(0)
torch.manual_seed(0)
out = tempfile.mkdtemp()
sys.argv = ["main.py", "--dataset", "CIFAR10", "--model", "MLP", "--ipc", "10", "--num_exp", "2", "--num_eval", "2"]
sys.argv += [
    "--epoch_eval_train",
    "20",
    "--Iteration",
    "1",
    "--eval_mode",
    "self",
    "--batch_real",
    "16",
    "--lr_img",
    "0.1",
]
sys.argv += ["--data_path", out, "--save_path", out]
runpy.run_path("main.py", run_name="__main__")
