"""Train the MLP head on features of the form N x C x 1 x 1; the last batch of an epoch has one sample.

fix: 75d472ba
depth: rehearse
expects: TW520
where: program
stands in: the registry of heads, the configuration's class
"""

from types import SimpleNamespace

import torch
from stand_ins import load, stand_in
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

stand_in("vissl.models.heads", register_model_head=lambda name: lambda cls: cls)
stand_in("vissl.utils.hydra_config")
MLP = load("vissl/models/heads/mlp.py").MLP

device = "cuda" if torch.cuda.is_available() else "cpu"
head = SimpleNamespace(PARAMS_MULTIPLIER=1.0, BATCHNORM_EPS=1e-5, BATCHNORM_MOMENTUM=0.1)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), MLP(SimpleNamespace(HEAD=head), dims=[16, 10])
).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
loader = DataLoader(TensorDataset(torch.randn(25, 3, 8, 8), torch.randint(10, (25,))), batch_size=8, shuffle=True)
for _ in range(2):
    for images, labels in loader:
        loss = nn.functional.cross_entropy(model(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
