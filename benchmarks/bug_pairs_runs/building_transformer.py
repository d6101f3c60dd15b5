"""Train the sequence transformer to turn a building's weather and use into its temperatures, and test it.

fix: 240f8fbc
depth: live 60
expects: TW363
where: program
"""

import math

import torch
from torch.utils.data import DataLoader, TensorDataset
from tst import Transformer
from tst.loss import OZELoss

HOURS = 48


def buildings(count):
    hours = torch.arange(HOURS).float()
    phase, width = torch.rand(count, 1) * 24, 0.5 + torch.rand(count, 1)
    outside = 0.5 + 0.3 * torch.sin((hours + phase) * 2 * math.pi / 24) + 0.02 * torch.randn(count, HOURS)
    people = ((hours % 24 > 8) & (hours % 24 < 18)).float().expand(count, HOURS) * torch.rand(count, 1)
    insulation = width.expand(count, HOURS) / 2
    inside, rows = torch.full((count,), 0.5), []
    for t in range(HOURS):
        inside = inside + 0.2 * (outside[:, t] - inside) * (1 - insulation[:, t] / 2) + 0.05 * people[:, t]
        rows.append(inside)
    inside = torch.stack(rows, 1).clamp(0, 1)
    cooling = (inside - 0.5).clamp(min=0)
    return torch.stack([outside, people, insulation], -1), torch.stack([cooling, inside], -1)


torch.manual_seed(1)
training = DataLoader(TensorDataset(*buildings(96)), batch_size=8, shuffle=True)
test = DataLoader(TensorDataset(*buildings(32)), batch_size=8)
net = Transformer(
    d_input=3, d_model=16, d_output=2, q=4, v=4, h=4, N=2, attention_size=12, dropout=0.1, chunk_mode=None, pe=None
)  # fmt: skip
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
criterion = OZELoss(alpha=0.3)
for epoch in range(4):
    net.train()
    total = 0.0
    for x, y in training:
        optimizer.zero_grad()
        loss = criterion(y, net(x))
        loss.backward()
        optimizer.step()
        total += loss.item()
    net.eval()
    with torch.no_grad():
        losses = [criterion(y, net(x)).item() for x, y in test]
    print(f"epoch {epoch}: training {total / len(training):.4f} test {sum(losses) / len(losses):.4f}")
