"""Train on energies of molecules from which the atoms' reference energies are taken away.

fix: 500b04cf
depth: live 8
expects: -
where: torchmdnet/module.py
stands in: torch_geometric's base class of transforms, the project's models and lightning module
"""

from types import SimpleNamespace

import torch
from stand_ins import load, stand_in
from torch import nn

stand_in("torch_geometric.transforms", BaseTransform=object)
stand_in("lightning")
stand_in("torchmdnet.models.model")
stand_in("torchmdnet.models.utils")
EnergyRefRemover = load("torchmdnet/module.py").EnergyRefRemover


class Molecules(SimpleNamespace):
    def __contains__(self, name):
        return hasattr(self, name)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.atoms = nn.Sequential(nn.Embedding(10, 16), nn.Linear(16, 16), nn.SiLU(), nn.Linear(16, 1))

    def forward(self, z, batch):
        return torch.zeros(int(batch.max()) + 1, 1).index_add(0, batch, self.atoms(z))


model, remove = Model(), EnergyRefRemover(torch.randn(10, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
for _ in range(8):
    batch = torch.arange(6).repeat_interleave(5)
    data = remove.forward(Molecules(z=torch.randint(10, (30,)), batch=batch, y=torch.randn(6, 1)))
    loss = nn.functional.mse_loss(model(data.z, data.batch), data.y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
