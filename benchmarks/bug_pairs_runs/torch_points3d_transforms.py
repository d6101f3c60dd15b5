"""Train a small segmentation of point clouds on a dataset of the project's kind, with configured transforms.

fix: d208a792
depth: live 60
expects: -
where: program
stands in: compiled packages for points (torch_scatter, torch_cluster), xxhash, matplotlib
needs: torch_geometric, requests
"""

import torch
from omegaconf import OmegaConf
from stand_ins import stand_in
from torch import nn

stand_in("xxhash")
import torch_geometric.nn
import torch_geometric.transforms
from torch_geometric.data import Data

del torch_geometric.transforms.GridSampling  # the project has its own of that name
for name in ("torch_scatter", "torch_cluster", "matplotlib.pyplot"):
    stand_in(name)
from torch_points3d.datasets.base_dataset import BaseDataset


class Clouds(torch.utils.data.Dataset):
    num_classes, num_features = 3, 3

    def __init__(self, size, pre_transform, transform):
        self.clouds = [pre_transform(make_cloud()) for _ in range(size)]
        self.transform = transform

    def __len__(self):
        return len(self.clouds)

    def __getitem__(self, index):
        return self.transform(self.clouds[index].clone())


class CloudDataset(BaseDataset):
    def __init__(self, dataset_opt):
        super().__init__(dataset_opt)
        self.train_dataset = Clouds(30, self.pre_transform, self.train_transform)
        self.val_dataset = Clouds(9, self.pre_transform, self.val_transform)
        self.test_dataset = Clouds(10, self.pre_transform, self.test_transform)


class Segmenter(nn.Module):
    conv_type = "message_passing"

    def __init__(self):
        super().__init__()
        self.points = nn.Sequential(nn.Linear(3, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32))
        self.head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, data):
        x = self.points(data.pos)
        whole = torch_geometric.nn.global_max_pool(x, data.batch)
        return self.head(torch.cat([x, whole[data.batch]], dim=1))


def make_cloud():
    y = torch.randint(3, (int(torch.randint(80, 200, ())),))
    return Data(pos=centres[y] + torch.randn(len(y), 3), y=y)


def step(transform, *lparams, **params):
    return {"transform": transform, "lparams": list(lparams), "params": params}


centres = 3 * torch.randn(3, 3)
options = OmegaConf.create({
    "dataroot": "data",
    "pre_transforms": [step("NormalizeScale")],
    "train_transforms": [step("FixedPoints", 64), step("RandomNoise", sigma=0.01, clip=0.05)],
    "val_transforms": [step("FixedPoints", 64)], "test_transforms": [step("FixedPoints", 64)],
})  # fmt: skip
dataset, model = CloudDataset(options), Segmenter()
dataset.create_dataloaders(model, batch_size=4, shuffle=True, num_workers=0, precompute_multi_scale=False)
print(dataset)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
for epoch in range(3):
    model.train()
    for data in dataset.train_dataloader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data), data.y).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for loader in (dataset.val_dataloader, *dataset.test_dataloaders):
            right = torch.cat([model(data).argmax(1) == data.y for data in loader])
            print(epoch, loader.dataset.name, right.float().mean().item())
