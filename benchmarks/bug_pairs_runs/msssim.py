"""Train a small denoiser with the project's multi-scale structural similarity as its loss.

fix: d2ea4fcb
depth: live 60
expects: TW321
where: program
"""

import torch
from pytorch_msssim import MSSSIM
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)


def pictures(count):
    coarse = torch.rand(count, 3, 12, 12)
    clean = nn.functional.interpolate(coarse, size=(192, 192), mode="bicubic", align_corners=False).clamp(0, 1)
    return TensorDataset((clean + 0.1 * torch.randn_like(clean)).clamp(0, 1), clean)


train = DataLoader(pictures(16), batch_size=4, shuffle=True)
test = DataLoader(pictures(4), batch_size=4)
model = nn.Sequential(
    nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 3, 1),
    nn.Sigmoid(),
)  # fmt: skip
similarity = MSSSIM()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

for epoch in range(3):
    model.train()
    for noisy, clean in train:
        optimizer.zero_grad()
        loss = 1 - similarity(model(noisy), clean)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        for noisy, clean in test:
            value = similarity(model(noisy), clean)
    print(f"epoch {epoch}: loss {loss.item():.4f}, test similarity {value.item():.4f}")
