"""Train a classifier on a stream of new classes with elastic weight consolidation, and evaluate it on the way.

fix: 7ebea30a
depth: live 60
expects: -
where: program
stands in: torchvision, dill, gdown, GPUtil, matplotlib, pkg_resources, pytorchcv, quadprog, wandb, old protocols
"""

import torch
import torchmetrics  # noqa: F401  (it looks for the real matplotlib)
from packaging.version import parse
from stand_ins import stand_in
from torch import nn

stand_in("dill", register=lambda kind: lambda function: function)
stand_in("pkg_resources", parse_version=parse)
vision = "datasets datasets.folder datasets.utils models transforms transforms.functional transforms.transforms utils"
others = "matplotlib.axes matplotlib.figure matplotlib.pyplot pytorchcv.model_provider pytorchcv.models.mobilenet"
for name in ("gdown", "GPUtil", "matplotlib", "quadprog", "torchvision", "wandb", *others.split()):
    stand_in(name)
for name in vision.split():
    stand_in(f"torchvision.{name}")
from avalanche.benchmarks import nc_benchmark
from avalanche.benchmarks.utils import make_tensor_classification_dataset
from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
from avalanche.logging import InteractiveLogger
from avalanche.models import SimpleMLP
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.supervised import EWC
from avalanche.training.templates.strategy_mixin_protocol import SGDStrategyProtocol, SupervisedStrategyProtocol

for protocol in (SGDStrategyProtocol, SupervisedStrategyProtocol):
    protocol.__init__ = lambda self: None  # as Python once did for protocols

centres = 2 * torch.randn(6, 20)


def make_dataset(size):
    labels = torch.randint(6, (size,))
    return make_tensor_classification_dataset(centres[labels] + torch.randn(size, 20), labels)


benchmark = nc_benchmark(make_dataset(250), make_dataset(100), n_experiences=3, task_labels=False, seed=1)
model = SimpleMLP(num_classes=benchmark.n_classes, input_size=20, hidden_size=32)
evaluator = EvaluationPlugin(
    accuracy_metrics(epoch=True, experience=True, stream=True),
    loss_metrics(epoch=True, experience=True),
    loggers=[InteractiveLogger()],
)
strategy = EWC(
    model,
    torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9),
    nn.CrossEntropyLoss(),
    ewc_lambda=0.4,
    train_mb_size=16,
    train_epochs=3,
    eval_mb_size=32,
    evaluator=evaluator,
)
for experience in benchmark.train_stream:
    strategy.train(experience)
    strategy.eval(benchmark.test_stream)
