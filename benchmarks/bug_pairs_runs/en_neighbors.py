"""Train the E(n) transformer with nearest neighbors to remove noise from chains of residues, and validate each epoch.

fix: 0a874ed5
depth: live 60
expects: -
where: program
needs: einops
"""

import torch
import torch.nn.functional as F
from en_transformer import EnTransformer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Denoiser(nn.Module):
    def __init__(self, kinds=21, dim=16):
        super().__init__()
        self.embed = nn.Embedding(kinds, dim)
        self.refine = EnTransformer(dim=dim, depth=2, dim_head=8, heads=2, fourier_features=2, num_nearest_neighbors=6)

    def forward(self, residues, coords):
        return self.refine(self.embed(residues), coords)[1]


def make_chains(count, length=24):
    coords = (0.5 * torch.randn(count, length, 3)).cumsum(1)
    return TensorDataset(torch.randint(21, (count, length)), coords - coords.mean(1, keepdim=True))


def denoise(net, residues, coords):
    noised = coords + 0.3 * torch.randn_like(coords)
    return F.mse_loss(net(residues, noised), coords)


torch.manual_seed(0)
training, validation = random_split(make_chains(80), [64, 16])
training = DataLoader(training, batch_size=8, shuffle=True)
validation = DataLoader(validation, batch_size=8)
net = Denoiser()
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(4):
    net.train()
    total = 0.0
    for residues, coords in training:
        loss = denoise(net, residues, coords)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(residues)
    net.eval()
    error = 0.0
    with torch.no_grad():
        for residues, coords in validation:
            error += denoise(net, residues, coords).item() * len(residues)
    print(
        f"epoch {epoch}: training {total / len(training.dataset):.4f} validation {error / len(validation.dataset):.4f}"
    )
