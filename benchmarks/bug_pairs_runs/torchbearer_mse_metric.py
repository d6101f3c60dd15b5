"""Train a regression with torchbearer and its metrics, validate it each epoch and evaluate it.

fix: 89c2724b
depth: live 60
expects: -
where: program
stands in: torchvision (imported by parts that are not used)
"""

import torch
from stand_ins import stand_in
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset

stand_in("torchvision.utils")
stand_in("torchvision.datasets.folder")
import torchbearer
from torchbearer import Trial


def make_loader(size, shuffle=False):
    inputs = torch.randn(size, 8)
    targets = inputs @ torch.linspace(-1, 1, 16).view(8, 2) + 0.1 * torch.randn(size, 2)
    return DataLoader(TensorDataset(inputs, targets), batch_size=16, shuffle=shuffle)


model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 2))
optimizer = optim.Adam(model.parameters(), lr=1e-2)
trial = Trial(model, optimizer, nn.MSELoss(), metrics=["mse", "loss"])
trial.with_generators(train_generator=make_loader(150, shuffle=True), val_generator=make_loader(40))
history = trial.run(epochs=3, verbose=1)
for metrics in history:
    print(metrics)
print(trial.evaluate(verbose=0, data_key=torchbearer.VALIDATION_DATA))
