"""Train a classifier with torchbearer and a learning-rate schedule, evaluate it, train on, and predict.

fix: 9d97c60e
depth: live 60
expects: -
where: program
"""

import torch
import torchbearer
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset
from torchbearer import Trial
from torchbearer.callbacks import StepLR


def make_loader(size, shuffle=False):
    classes = torch.randint(0, 4, (size,))
    inputs = torch.randn(size, 10) + classes.view(-1, 1)
    return DataLoader(TensorDataset(inputs, classes), batch_size=16, shuffle=shuffle)


model = nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
trial = Trial(model, optimizer, nn.CrossEntropyLoss(), metrics=["acc", "loss"], callbacks=[StepLR(2, gamma=0.5)])
trial.with_generators(make_loader(150, shuffle=True), make_loader(40), make_loader(30))
for metrics in trial.run(epochs=4, verbose=0):
    print(metrics)
print(trial.evaluate(verbose=0))
print(trial.evaluate(verbose=0, data_key=torchbearer.TEST_DATA))
for metrics in trial.run(epochs=8, verbose=0):
    print(metrics)
print(trial.predict(verbose=0).shape)
