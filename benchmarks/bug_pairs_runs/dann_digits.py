"""Adapt the project's DaNN from a source to a shifted target domain of invented 28 x 28 pictures, and test each epoch.

fix: 45dd995b
depth: live 60
expects: -
where: program
needs: tqdm
stands in: torchvision (the pictures are invented)
"""

import os
import sys

import torch
from stand_ins import stand_in
from torch.utils.data import DataLoader, TensorDataset

stand_in("torchvision.datasets")
stand_in("torchvision.transforms")
os.chdir("code/deep/DaNN")
sys.path.insert(0, ".")

import DaNN
import main

torch.manual_seed(1)
prototypes = torch.rand(10, 1, 28, 28)


def make_pictures(count, contrast, brightness):
    labels = torch.randint(10, (count,))
    pictures = prototypes[labels] * contrast + brightness + 0.3 * torch.randn(count, 1, 28, 28)
    return TensorDataset(pictures, labels)


data_src = DataLoader(make_pictures(256, 1.0, 0.0), batch_size=32, shuffle=True, drop_last=True)
data_tar = DataLoader(make_pictures(128, 0.6, 0.3), batch_size=32, shuffle=False)
model = DaNN.DaNN(n_input=28 * 28, n_hidden=64, n_class=10)
optimizer = torch.optim.SGD(
    model.parameters(), lr=main.LEARNING_RATE, momentum=main.MOMEMTUN, weight_decay=main.L2_WEIGHT
)
for epoch in range(1, 5):
    model = main.train(model=model, optimizer=optimizer, epoch=epoch, data_src=data_src, data_tar=data_tar)
    main.test(model, data_tar, epoch)
