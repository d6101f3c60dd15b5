"""Train a small classifier with the framework's Model and validate it after each epoch, as its Example does.

fix: de57cd43
depth: live 60
expects: -
where: program
stands in: torch's old losses of shape (1,)
"""

import torch
from framework.bink import Model
from framework.callbacks.callbacks import Callback
from framework.metrics.metrics import Average, LambdaMetric, LossMetric
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class CrossEntropyLoss(nn.CrossEntropyLoss):
    def forward(self, scores, classes):
        return super().forward(scores, classes).view(1)  # the framework reads loss.data[0]


class Report(Callback):
    def on_end_epoch(self, state):
        print(state["epoch"], state["metrics"])


def make_loader(size, shuffle=False):
    classes = torch.randint(0, 5, (size,))
    images = torch.randn(size, 1, 12, 12) + classes.view(-1, 1, 1, 1) / 2
    return DataLoader(TensorDataset(images, classes), batch_size=16, shuffle=shuffle)


def accuracy(y_true, y_pred):
    return (y_pred.argmax(1) == y_true).float().mean().item()


network = nn.Sequential(
    nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Dropout(0.3), nn.Linear(200, 5),
)  # fmt: skip
metrics = [Average(LossMetric()), LossMetric(), Average(LambdaMetric("acc", accuracy))]
model = Model(network, torch.optim.SGD(network.parameters(), 0.01), CrossEntropyLoss(), metrics=metrics)
model.fit_generator(
    make_loader(100, shuffle=True), epochs=3, callbacks=[Report()], validation_generator=make_loader(40)
)
