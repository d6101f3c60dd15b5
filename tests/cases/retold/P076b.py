from __future__ import annotations

import torch
from torch import Tensor, nn


class PointEncoder(nn.Module):
    """Permutation-invariant encoder; the output width depends on the task."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.local = nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, width))
        # FIX+: self.gate = nn.Linear(width, width)

    def forward(self, points: Tensor) -> Tensor:
        feat = self.local(points)
        pooled = feat.amax(dim=1)
        gate = nn.Linear(self.width, self.width)  # BUG
        # FIX: gate = self.gate
        return pooled * torch.sigmoid(gate(pooled))


class ShapeClassifier(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.encoder = PointEncoder()
        self.head = nn.Linear(self.encoder.width, classes)

    def forward(self, points: Tensor) -> Tensor:
        return self.head(self.encoder(points))


def clouds(n: int) -> tuple[Tensor, Tensor]:
    kind = torch.randint(0, 3, (n,))
    p = torch.randn(n, 40, 3)
    sphere = p / p.norm(dim=-1, keepdim=True)
    plane = p * torch.tensor([1.0, 1.0, 0.0])
    line = p * torch.tensor([1.0, 0.0, 0.0])
    stacked = torch.stack([sphere, plane, line], dim=1)
    return stacked[torch.arange(n), kind], kind


def main() -> None:
    torch.manual_seed(2)
    model = ShapeClassifier(3)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for it in range(40):
        pts, lab = clouds(32)
        loss = nn.functional.cross_entropy(model(pts), lab)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if it % 10 == 0:
            print(it, round(loss.item(), 4))
    model.eval()
    with torch.no_grad():
        pts, lab = clouds(128)
        print("acc", (model(pts).argmax(1) == lab).float().mean().item())


if __name__ == "__main__":
    main()
