"""Run the project's train.py with a data set for yes or no, and a classifier that has one output for it.

fix: a10458a2
depth: live 60
expects: -
where: program
stands in: torchvision (its models, data sets and transforms are not used)
"""

import json
import runpy
import sys

import torch
from stand_ins import HERE, stand_in
from torch.nn import functional as F
from torch.utils.data import TensorDataset

models, transforms = stand_in("torchvision.models"), stand_in("torchvision.transforms")
stand_in("torchvision.transforms.functional")
datasets_module = stand_in("torchvision.datasets")
stand_in("torchvision.datasets.folder")
stand_in("torchvision", models=models, transforms=transforms, datasets=datasets_module, __version__="0")
from domainbed import algorithms, datasets


class TwoClouds(datasets.MultipleDomainDataset):
    """Points of two classes, which each domain turns and moves in its own way; the label is 0 or 1."""

    N_WORKERS = 0
    ENVIRONMENTS = ["0", "1", "2"]

    def __init__(self, root, test_envs, hparams):
        super().__init__()
        self.input_shape, self.num_classes = (6,), 1
        self.datasets = []
        for size in (150, 130, 110):
            labels = torch.randint(0, 2, (size, 1)).float()
            points = torch.randn(size, 6) + 1.5 * labels + 0.5 * torch.randn(1, 6)
            self.datasets.append(TensorDataset(points, labels))


class BinaryERM(algorithms.ERM):
    def update(self, minibatches):
        points = torch.cat([x for x, _ in minibatches])
        labels = torch.cat([y for _, y in minibatches])
        loss = F.binary_cross_entropy_with_logits(self.predict(points), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.item()}


datasets.TwoClouds = TwoClouds
algorithms.BinaryERM = BinaryERM
script = str(HERE / "domainbed/scripts/train.py")
hparams = {"mlp_width": 32, "mlp_depth": 3, "mlp_dropout": 0.1, "batch_size": 16, "lr": 1e-3}
sys.argv = [script, "--dataset", "TwoClouds", "--algorithm", "BinaryERM", "--hparams", json.dumps(hparams)]
sys.argv += ["--steps", "61", "--checkpoint_freq", "20", "--test_envs", "0", "--output_dir", str(HERE / "output")]
runpy.run_path(script, run_name="__main__")
