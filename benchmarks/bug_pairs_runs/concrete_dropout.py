"""Run the project's MNIST example with concrete dropout on a small invented data set.

fix: 0b8ecad0
depth: live 60
expects: TW201
where: mnist_example.py
stands in: torchvision and its MNIST
"""

import runpy
import sys

import torch
from stand_ins import stand_in
from torch.utils.data import Dataset

torch.manual_seed(0)
shapes = torch.rand(10, 1, 28, 28)


class MNIST(Dataset):
    def __init__(self, root, train, download, transform):
        self.labels = torch.randint(10, (640 if train else 200,))
        self.data = shapes[self.labels] + 0.4 * torch.randn(len(self.labels), 1, 28, 28) - 0.5

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index], int(self.labels[index])


stand_in("torchvision")
stand_in("torchvision.datasets", MNIST=MNIST)
stand_in("torchvision.transforms")

sys.argv = ["mnist_example.py", "--epochs", "4", "--lr", "0.001", "--testbatch-size", "100", "--no-cuda"]
runpy.run_path("mnist_example.py", run_name="__main__")
print(open("results.csv").read())  # noqa: SIM115
