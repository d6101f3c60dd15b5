"""Point clouds to bird's-eye-view grid (pillars), then a small CNN that guesses the object class."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class PillarScatter(nn.Module):
    def __init__(self, grid=16, extent=4.0):
        super().__init__()
        self.grid, self.extent = grid, extent

    def cells(self, xyz):
        ij = ((xyz[..., :2] + self.extent) / (2 * self.extent) * self.grid).long().clamp_(0, self.grid - 1)
        return ij[..., 0] * self.grid + ij[..., 1]

    def forward(self, xyz, feats):
        b, n, c = feats.shape
        bev = feats.new_zeros(b, self.grid * self.grid, c)
        row = torch.arange(b, device=feats.device).unsqueeze(1)  # (B, 1) against (B, N)
        cell = self.cells(xyz)
        bev[row, cell] += feats  # BUG
        # FIX: bev = bev.index_put((row.expand_as(cell), cell), feats, accumulate=True)
        return bev.transpose(1, 2).unflatten(-1, (self.grid, self.grid))


class PillarNet(nn.Module):
    def __init__(self, classes=3, c=16):
        super().__init__()
        self.point = nn.Sequential(nn.Linear(4, c), nn.ReLU(), nn.Linear(c, c))
        self.scatter = PillarScatter()
        self.conv = nn.Sequential(
            nn.BatchNorm2d(c), nn.Conv2d(c, 24, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Conv2d(24, 24, 3, padding=1), nn.ReLU(),
        )
        self.head = nn.Linear(24, classes)

    def forward(self, cloud):
        bev = self.scatter(cloud[..., :3], self.point(cloud))
        return self.head(self.conv(bev).amax((-1, -2)))


def make_clouds(n, pts=200):
    y = torch.randint(3, (n,))
    size = torch.tensor([[0.4, 0.4, 1.7], [1.6, 0.6, 1.4], [1.9, 1.8, 1.5]])[y]
    center = torch.empty(n, 1, 3).uniform_(-2, 2)
    center[..., 2] = 0
    xyz = center + torch.rand(n, pts, 3).sub(0.5) * size.unsqueeze(1)
    intensity = torch.rand(n, pts, 1)
    return torch.cat([xyz, intensity], -1), y


def main():
    torch.manual_seed(0)
    clouds, y = make_clouds(240)
    net = PillarNet()
    opt = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for epoch in range(3):
        net.train()
        for idx in torch.randperm(200).split(40):
            loss = F.cross_entropy(net(clouds[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            acc = (net(clouds[200:]).argmax(-1) == y[200:]).float().mean().item()
        print(f"epoch {epoch} loss {loss.item():.3f} val acc {acc:.3f}")


if __name__ == "__main__":
    main()
