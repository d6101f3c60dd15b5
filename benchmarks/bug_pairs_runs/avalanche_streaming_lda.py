"""Fit streaming linear discriminant analysis to features of a ResNet, as the project's example does.

fix: 89be271c
depth: live 60
expects: TW356
where: avalanche/models/slda_resnet.py
stands in: torchvision (a small ResNet), GPUtil, matplotlib, pytorchcv, quadprog, wandb, a method that torch asks for
"""

from collections import OrderedDict

import torch
from stand_ins import stand_in
from torch import nn
from torch.utils.data import Dataset


def block(before, after, stride):
    return nn.Sequential(nn.Conv2d(before, after, 3, stride, 1), nn.BatchNorm2d(after), nn.ReLU())


def resnet18(pretrained):
    layers = {"layer1": block(3, 16, 2), "layer2": block(16, 32, 2)}
    layers["layer4"] = nn.Sequential(block(32, 32, 2), block(32, 32, 1))
    return nn.Sequential(OrderedDict(layers))


for name in (
    "GPUtil",
    "matplotlib.pyplot",
    "pytorchcv.models.mobilenet",
    "pytorchcv.model_provider",
    "quadprog",
    "wandb",
):
    stand_in(name)
for name in ("datasets", "datasets.folder", "datasets.utils", "transforms", "transforms.functional"):
    stand_in(f"torchvision.{name}")
stand_in("torchvision.models", resnet18=resnet18)
from avalanche.benchmarks import nc_benchmark
from avalanche.benchmarks.utils.dataset_utils import SubsetWithTargets
from avalanche.evaluation.metrics import accuracy_metrics, forgetting_metrics, loss_metrics
from avalanche.logging import InteractiveLogger
from avalanche.models import SLDAResNetModel
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.strategies.deep_slda import StreamingLDA

SubsetWithTargets.__getitems__ = lambda self, indices: [self[index] for index in indices]
colours = torch.rand(6, 3, 1, 1)


class Pictures(Dataset):
    def __init__(self, size):
        self.targets = torch.randint(6, (size,)).tolist()
        self.noise = torch.randn(size, 3, 32, 32) / 4

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return colours[self.targets[index]] + self.noise[index], self.targets[index]


benchmark = nc_benchmark(Pictures(200), Pictures(80), n_experiences=3, task_labels=False, seed=1)
evaluator = EvaluationPlugin(
    loss_metrics(epoch=True, experience=True, stream=True),
    accuracy_metrics(epoch=True, experience=True, stream=True),
    forgetting_metrics(experience=True, stream=True),
    loggers=[InteractiveLogger()],
)
strategy = StreamingLDA(
    SLDAResNetModel(arch="resnet18", imagenet_pretrained=False),
    nn.CrossEntropyLoss(),
    input_size=32,
    num_classes=6,
    train_mb_size=16,
    eval_mb_size=16,
    train_epochs=1,
    shrinkage_param=1e-4,
    streaming_update_sigma=True,
    evaluator=evaluator,
)
for experience in benchmark.train_stream:
    strategy.train(experience)
    strategy.eval(benchmark.test_stream)
