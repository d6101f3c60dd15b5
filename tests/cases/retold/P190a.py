"""Point cloud auto-encoder trained with the Chamfer distance."""
import argparse

import torch
import torch.nn as nn


class PointEncoder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, pts):
        return self.mlp(pts).amax(dim=1)


class PointAE(nn.Module):
    def __init__(self, dim, n_out):
        super().__init__()
        self.enc = PointEncoder(dim)
        self.dec = nn.Sequential(nn.Linear(dim, 128), nn.ReLU(), nn.Linear(128, 3 * n_out))

    def forward(self, pts):
        return self.dec(self.enc(pts)).unflatten(1, (-1, 3))


class Chamfer(nn.Module):
    def pairwise(self, a, b):
        n, m = a.size(1), b.size(1)  # BUG
        # FIX:
        left = a.unsqueeze(2).expand(-1, -1, m, -1)  # BUG
        # FIX:
        right = b.unsqueeze(1).expand(-1, n, -1, -1)  # BUG
        # FIX:
        return torch.sub(left, right).square().sum(dim=-1)  # BUG
        # FIX: return a.square().sum(-1, keepdim=True) - 2 * a @ b.mT + b.square().sum(-1).unsqueeze(1)

    def forward(self, a, b):
        d = self.pairwise(a, b)
        return d.amin(dim=2).mean() + d.amin(dim=1).mean()


def make_clouds(n, pts):
    v = nn.functional.normalize(torch.randn(n, pts, 3), dim=-1)
    radius = 0.5 + torch.rand(n, 1, 1)
    return v * radius               # one radius per cloud


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--points", type=int, default=256)
    p.add_argument("--dim", type=int, default=32)
    p.add_argument("--steps", type=int, default=10)
    args = p.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clouds = make_clouds(32, args.points).to(device)
    model, criterion = PointAE(args.dim, args.points).to(device), Chamfer()
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(args.steps):
        batch = clouds[torch.randint(32, (8,), device=device)]
        loss = criterion(model(batch), batch)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("chamfer", loss.item())


if __name__ == "__main__":
    main()
