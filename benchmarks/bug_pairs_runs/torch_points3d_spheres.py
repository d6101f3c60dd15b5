"""Train a small segmentation on random spheres out of large clouds, with the project's dataset and two workers.

fix: 9c2673b2
depth: live 60
expects: -
where: program
stands in: compiled packages for points (torch_scatter, torch_cluster), xxhash, matplotlib, the project's base class of
  models, which needs further packages
needs: torch_geometric, requests
"""

import numpy as np
import torch
from omegaconf import OmegaConf
from stand_ins import HERE, package, stand_in
from torch import nn

stand_in("xxhash")
import torch_geometric.transforms
from torch_geometric.data import Data

del torch_geometric.transforms.GridSampling  # the project has its own of that name
for name in ("torch_scatter", "torch_cluster", "matplotlib.pyplot"):
    stand_in(name)
package("torch_points3d", HERE / "torch_points3d")
package("torch_points3d.metrics", HERE / "torch_points3d/metrics")
stand_in("torch_points3d.models.base_model")
stand_in("torch_points3d.metrics.model_checkpoint")
from torch_points3d.datasets.base_dataset import BaseDataset


class Spheres(torch.utils.data.Dataset):
    num_classes, num_features = 3, 3

    def __init__(self, areas, size, transform):
        self.areas, self.size, self.transform = areas, size, transform

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        area = self.areas[np.random.randint(len(self.areas))]
        label = np.random.choice(self.num_classes, p=[0.5, 0.3, 0.2])
        centre = area.pos[np.random.choice(np.flatnonzero(area.y == label))]
        near = (area.pos - centre).norm(dim=1) < 2
        return self.transform(Data(pos=area.pos[near], y=area.y[near]))


class SphereDataset(BaseDataset):
    def __init__(self, dataset_opt):
        super().__init__(dataset_opt)
        self.train_dataset = Spheres([make_area() for _ in range(3)], 46, self.train_transform)
        self.test_dataset = Spheres([make_area()], 13, self.test_transform)


def make_area():
    y = torch.randint(3, (600,))
    return Data(pos=centres[y] + torch.randn(len(y), 3), y=y)


def step(transform, *lparams, **params):
    return {"transform": transform, "lparams": list(lparams), "params": params}


centres = 3 * torch.randn(3, 3)
options = OmegaConf.create({
    "dataroot": "data",
    "train_transforms": [step("FixedPoints", 64), step("RandomNoise", sigma=0.01, clip=0.05)],
    "test_transforms": [step("FixedPoints", 64)],
})  # fmt: skip
dataset = SphereDataset(options)
model = nn.Sequential(nn.Linear(3, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
model.conv_type = "message_passing"
dataset.create_dataloaders(model, batch_size=4, shuffle=True, num_workers=2, precompute_multi_scale=False)
print(dataset)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(3):
    model.train()
    for data in dataset.train_dataloader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data.pos), data.y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for loader in dataset.test_dataloaders:
            right = torch.cat([model(data.pos).argmax(1) == data.y for data in loader])
            print(epoch, loader.dataset.name, right.float().mean().item())
