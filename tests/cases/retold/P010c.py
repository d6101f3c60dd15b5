import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(3)


class DepthDecoder(nn.Module):
    def __init__(self, width=16, max_depth=80.0):
        super().__init__()
        self.max_depth = max_depth
        self.c1 = nn.Conv2d(3, width, 3, padding=1)
        self.c2 = nn.Conv2d(width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, rgb):
        h = F.elu(self.c1(rgb))
        h = F.elu(self.c2(h))
        return torch.sigmoid(self.out(h)) * self.max_depth


class MaskedL1(nn.Module):
    """L1 on LiDAR returns inside the working range."""

    def __init__(self, lo=1e-3, hi=80.0):
        super().__init__()
        self.lo, self.hi = lo, hi

    def valid(self, gt):
        ok = gt.gt(self.lo)
        ok = ok.add(gt.lt(self.hi))  # BUG
        # FIX: ok = ok.logical_and(gt.lt(self.hi))
        return ok.eq(2)  # BUG
        # FIX: return ok

    def forward(self, pred, gt):
        m = self.valid(gt).float()
        diff = (pred - gt).abs() * m
        return diff.sum() / m.sum().clamp(min=1.0)


def fake_kitti(n, h=16, w=24):
    rgb = torch.rand(n, 3, h, w)
    depth = 5 + 60 * rgb.mean(1, keepdim=True)
    depth[torch.rand_like(depth) > 0.6] = 0.0          # no return
    depth[torch.rand_like(depth) > 0.98] = 120.0       # out of range
    return rgb, depth


net = DepthDecoder()
crit = MaskedL1()
opt = torch.optim.AdamW(net.parameters(), lr=1e-3)
rgb, depth = fake_kitti(24)
net.train()
for it in range(9):
    sel = torch.arange(it * 8, it * 8 + 8) % 24
    opt.zero_grad(set_to_none=True)
    loss = crit(net(rgb[sel]), depth[sel])
    loss.backward()
    opt.step()
    # number of cameras seeing both a near and a far point
    seen = torch.stack([(depth[sel] > 60).flatten(1).any(1), (depth[sel] < 30).flatten(1).any(1)])
    both = (seen.sum(0) == 2).sum().item()
    print(f"it {it} loss {loss.item():.3f} near+far images {both}")
