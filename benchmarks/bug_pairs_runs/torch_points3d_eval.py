"""Train a small segmentation of point clouds with the project's classes, and run its eval.py on the checkpoint.

fix: f4688a78
depth: live 60
expects: TW356
where: program
stands in: hydra, torchnet's meter, wandb, compiled packages for points (torch_scatter, torch_cluster), xxhash,
  matplotlib, old names of tqdm
needs: torch_geometric, requests
"""

import os
import runpy
import tempfile
from types import SimpleNamespace

os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"  # checkpoints hold their configuration
import torch
import tqdm.std
from omegaconf import OmegaConf
from stand_ins import HERE, stand_in
from torch import nn

stand_in("xxhash")
import torch_geometric.transforms
from torch_geometric.data import Data


class AverageValueMeter(list):
    n, add, value = property(len), list.append, lambda self: (sum(self) / len(self), 0.0)


del torch_geometric.transforms.GridSampling  # the project has its own of that name
for name in ("torch_scatter", "torch_cluster", "matplotlib.pyplot", "wandb"):
    stand_in(name)
stand_in("torchnet", meter=SimpleNamespace(AverageValueMeter=AverageValueMeter))
stand_in("hydra", utils=SimpleNamespace(to_absolute_path=str), main=lambda **_: lambda main: lambda: main(config))
tqdm.std._OrderedDict, tqdm.std._basestring = dict, str
from src.datasets.base_dataset import BaseDataset
from src.metrics.model_checkpoint import ModelCheckpoint
from src.metrics.segmentation_tracker import SegmentationTracker
from src.models.base_model import BaseModel
from src.models.model_factory import instantiate_model


class CloudDataset(BaseDataset):
    num_classes, feature_dimension = 3, 3
    get_tracker = staticmethod(lambda model, dataset, *log: SegmentationTracker(dataset))

    def __init__(self, dataset_opt):
        super().__init__(dataset_opt)
        self.train_dataset, self.val_dataset, self.test_dataset = make_clouds(30), make_clouds(9), make_clouds(10)


class Segmenter(BaseModel):
    def __init__(self, option, model_type, dataset, modules):
        super().__init__(option)
        self.loss_names = ["loss_seg"]
        self.points = nn.Sequential(nn.Linear(3, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 3))

    def set_input(self, data):
        self.input, self.labels = data, data.y

    def forward(self):
        self.output = self.points(self.input.pos)
        self.loss_seg = nn.functional.cross_entropy(self.output, self.labels)
        return self.output

    def backward(self):
        self.loss_seg.backward()


def make_clouds(size):
    labels = [torch.randint(3, (points,)) for points in torch.randint(60, 120, (size,))]
    return [Data(pos=centres[y] + torch.randn(len(y), 3), y=y) for y in labels]


centres = 2 * torch.randn(3, 3)
stand_in("src.datasets.segmentation.clouds", CloudDataset=CloudDataset)
stand_in("src.models.segmentation.small", Segmenter=Segmenter)
config = OmegaConf.create({
    "data": {"class": "clouds.CloudDataset", "task": "segmentation", "dataroot": "data"}, "model_name": "Small",
    "models": {"Small": {"class": "small.Segmenter", "conv_type": "MESSAGE_PASSING"}},
    "checkpoint_dir": tempfile.mkdtemp(), "weight_name": "latest", "cuda": 0, "enable_cudnn": False,
    "enable_dropout": False, "batch_size": 4, "shuffle": False, "num_workers": 0, "precompute_multi_scale": False,
})  # fmt: skip
dataset = CloudDataset(config.data)
model = instantiate_model(config, dataset)
model.optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
dataset.create_dataloaders(model, 4, shuffle=True, num_workers=0, precompute_multi_scale=False)
checkpoint = ModelCheckpoint(config.checkpoint_dir, "Small", "val", config)
for epoch in range(1, 4):
    model.train()
    for data in dataset.train_dataloader():
        model.set_input(data)
        model.optimize_parameters(epoch, dataset.batch_size)
    checkpoint.save_best_models_under_current_metrics(model, {"stage": "train", "epoch": epoch, "current_metrics": {}})
runpy.run_path(str(HERE / "eval.py"), run_name="__main__")
