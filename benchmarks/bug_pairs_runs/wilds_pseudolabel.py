"""Train with pseudolabels by the project's own run_expt.py, on invented patches of tissue from five hospitals.

fix: 3a5120ec
depth: live 60
expects: -
where: program
stands in: Camelyon17, torchvision's transforms and densenet (a small network), torch_scatter, pandas, transformers,
  torch_geometric, ogb, efficientnet_pytorch, and the ramp's step (by a later version of it)
"""

import functools
import runpy
import sys
import tempfile

import numpy as np
import torch
import torch._dynamo  # before pandas has its stand-in
from PIL import Image
from stand_ins import HERE, stand_in
from torch import nn


class SmallNet(nn.Module):
    def __init__(self, pretrained):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 16, 5, 4), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2))
        self.classifier = nn.Linear(32, 1000)

    def forward(self, x):
        return self.classifier(self.features(x).relu().mean((2, 3)))


def compose(steps):
    return lambda x: functools.reduce(lambda value, step: step(value), steps, x)


def normalize(mean, std):
    return lambda x: (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def scatter(src, index, dim_size, reduce):
    return torch.zeros(dim_size, dtype=src.dtype).scatter_reduce(0, index, src, reduce, include_self=False)


def step(self):
    self.current_step += 1
    ramp = (self.current_step - self.T1) / (self.T2 - self.T1)
    self.value = self.max_value * min(max(ramp, 0), 1)


steps = {"Compose": compose, "Resize": lambda size: lambda picture: picture.resize(tuple(size)), "Normalize": normalize}
steps["ToTensor"] = lambda: lambda picture: torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
stand_in("torchvision.transforms", **steps)
stand_in("torchvision.models", densenet121=SmallNet)
stand_in("torch_scatter", scatter=scatter)
stand_in("transformers", AdamW=torch.optim.AdamW)
for name in (
    "pandas",
    "pandas.api.types",
    "torch_geometric.nn",
    "ogb.graphproppred.mol_encoder",
    "efficientnet_pytorch",
):
    stand_in(name)
sys.modules["pandas"].DataFrame = lambda predictions: sys.modules["pandas"].Frame()
sys.modules["pandas"].Frame.to_csv = lambda self, path, **kwargs: None
sys.path.insert(0, str(HERE / "examples"))

import wilds
from scheduler import LinearScheduleWithWarmupAndThreshold
from wilds.common.grouper import CombinatorialGrouper
from wilds.common.metrics.all_metrics import Accuracy
from wilds.datasets.unlabeled.wilds_unlabeled_dataset import WILDSUnlabeledDataset
from wilds.datasets.wilds_dataset import WILDSDataset

LinearScheduleWithWarmupAndThreshold.step = step
rng = np.random.default_rng(0)


class Patches:
    def fill(self, splits):
        hospitals = rng.integers(0, 5, 60)
        labels = rng.integers(0, 2, 60)
        self._patches = rng.integers(0, 240, (60, 96, 96, 3)) + 12 * labels[:, None, None, None]
        self._dataset_name, self._data_dir, self._split_scheme = "camelyon17", str(HERE), "official"
        self._original_resolution, self._split_array = (96, 96), rng.choice(splits, 60)
        self._y_array, self._y_size, self._n_classes = torch.from_numpy(labels), 1, 2
        self._metadata_fields, self._metadata_map = ["hospital", "y"], {"hospital": list(range(5)), "y": [0, 1]}
        self._metadata_array = torch.from_numpy(np.stack([hospitals, labels], 1))

    def get_input(self, index):
        return Image.fromarray(self._patches[index].astype(np.uint8))


class Labeled(Patches, WILDSDataset):
    def __init__(self):
        self.fill([0, 0, 0, 1, 2])
        self.grouper = CombinatorialGrouper(self, ["hospital"])
        super().__init__(str(HERE), False, "official")

    def eval(self, predictions, labels, metadata):
        return self.standard_group_eval(Accuracy(), self.grouper, predictions, labels, metadata)


class Unlabeled(Patches, WILDSUnlabeledDataset):
    def __init__(self):
        self.fill([12])
        super().__init__(str(HERE), False, "official")


wilds.get_dataset = lambda unlabeled=False, **kwargs: Unlabeled() if unlabeled else Labeled()
arguments = f"""--dataset camelyon17 --algorithm PseudoLabel --root_dir data --log_dir {tempfile.mkdtemp()} --n_epochs 4
--unlabeled_split test_unlabeled --batch_size 8 --unlabeled_batch_size 8 --lr 0.05 --self_training_threshold 0.6
--loader_kwargs num_workers=0 pin_memory=False"""
sys.argv = ["run_expt.py", *arguments.split()]
runpy.run_path(str(HERE / "examples/run_expt.py"), run_name="__main__")
