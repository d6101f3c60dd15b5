"""Train the project's small convolutional network on a stream of new classes, and evaluate it after each experience.

fix: cdb39043
depth: live 60
expects: TW160
where: avalanche/models/simple_cnn.py
stands in: torchvision, GPUtil, matplotlib, pytorchcv, quadprog, wandb, a method that torch now asks for
"""

import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import Dataset

for name in ("GPUtil", "matplotlib.pyplot", "pytorchcv.models.mobilenet", "quadprog", "torchvision", "wandb"):
    stand_in(name)
for name in ("datasets", "datasets.folder", "datasets.utils", "transforms", "transforms.functional"):
    stand_in(f"torchvision.{name}")
from avalanche.benchmarks import nc_scenario
from avalanche.benchmarks.utils.dataset_utils import SubsetWithTargets
from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
from avalanche.logging import InteractiveLogger
from avalanche.models import SimpleCNN
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.strategies import Naive

SubsetWithTargets.__getitems__ = lambda self, indices: [self[index] for index in indices]
colours = torch.rand(6, 3, 1, 1)


class Pictures(Dataset):
    def __init__(self, size):
        self.targets = (torch.randperm(size) % 6).tolist()
        self.noise = torch.randn(size, 3, 32, 32) / 4

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return colours[self.targets[index]] + self.noise[index], self.targets[index]


scenario = nc_scenario(Pictures(120), Pictures(60), n_experiences=3, task_labels=False, seed=1)
model = SimpleCNN(num_classes=scenario.n_classes)
evaluator = EvaluationPlugin(
    accuracy_metrics(epoch=True, experience=True, stream=True),
    loss_metrics(epoch=True, experience=True),
    loggers=[InteractiveLogger()],
)
strategy = Naive(
    model,
    torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9),
    nn.CrossEntropyLoss(),
    train_mb_size=16,
    train_epochs=3,
    eval_mb_size=8,
    evaluator=evaluator,
)
for experience in scenario.train_stream:
    strategy.train(experience)
    strategy.eval(scenario.test_stream)
