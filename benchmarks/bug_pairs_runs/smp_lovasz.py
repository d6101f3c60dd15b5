"""Train a small network for segmentation with the Lovasz loss.

fix: 28449be7
depth: rehearse
expects: TW122
where: segmentation_models_pytorch/losses/lovasz.py
"""

import torch
from stand_ins import HERE, package
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

package("segmentation_models_pytorch", HERE / "segmentation_models_pytorch")
from segmentation_models_pytorch.losses import LovaszLoss

device = "cuda" if torch.cuda.is_available() else "cpu"
classes = 5
model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, classes, 1)).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = LovaszLoss(mode="multiclass")
loader = DataLoader(TensorDataset(torch.randn(24, 3, 24, 32), torch.randint(classes, (24, 24, 32))), batch_size=4)
for images, labels in loader:
    images, labels = images.to(device), labels.to(device)
    optimizer.zero_grad()
    loss = criterion(model(images), labels)
    loss.backward()
    optimizer.step()
