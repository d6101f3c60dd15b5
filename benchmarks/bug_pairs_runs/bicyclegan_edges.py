"""Run the project's BicycleGAN script on a few invented pairs of pictures.

fix: b2c18386
depth: live 60
expects: TW351
where: implementations/bicyclegan/bicyclegan.py
stands in: torchvision with its pretrained resnet18, and the data set
"""

import os
import runpy
import sys

import numpy as np
import torch
from PIL import Image
from stand_ins import stand_in
from torch import nn

torch.manual_seed(0)
np.random.seed(0)


def resnet18(pretrained):
    def block(inside, outside, stride):
        conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())

    net = nn.Sequential(nn.Conv2d(3, 32, 7, 2, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    net.extend([block(32, 32, 1), block(32, 64, 2), block(64, 256, 2), block(256, 512, 2)])
    return net.extend([nn.AdaptiveAvgPool2d(1), nn.Linear(512, 1000)])


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, picture):
        values = np.asarray(picture.resize((128, 128), Image.BICUBIC), dtype=np.float32)
        return torch.from_numpy(values).permute(2, 0, 1) / 127.5 - 1


stand_in("torchvision")
stand_in("torchvision.transforms", Compose=Compose)
stand_in("torchvision.utils", save_image=lambda *args, **kwargs: None)
stand_in("torchvision.datasets")
stand_in("torchvision.models", resnet18=resnet18)

for mode, count in {"train": 6, "val": 8}.items():
    os.makedirs(f"data/edges2shoes/{mode}", exist_ok=True)
    for index in range(count):
        filled = np.zeros((128, 128, 3), dtype=np.uint8)
        top, left = np.random.randint(10, 60, 2)
        filled[top : top + 50, left : left + 50] = np.random.randint(60, 255, 3)
        edges = 255 * (np.abs(np.diff(filled[..., :1].astype(int), axis=0, prepend=0)) > 0).astype(np.uint8).repeat(
            3, 2
        )
        Image.fromarray(np.concatenate([edges, filled], 1)).save(f"data/edges2shoes/{mode}/{index}.png")

os.chdir("implementations/bicyclegan")
sys.path.insert(0, os.getcwd())
sys.argv = ["bicyclegan.py", "--n_epochs", "2", "--batch_size", "2", "--n_cpu", "0", "--sample_interval", "100"]
runpy.run_path("bicyclegan.py", run_name="__main__")
print()
