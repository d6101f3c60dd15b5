import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)


def block(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1), nn.ReLU(inplace=True))


class UNet(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.d1, self.d2, self.mid = block(1, c), block(c, 2 * c), block(2 * c, 2 * c)
        self.u2, self.u1 = block(4 * c, c), block(2 * c, c)
        self.last = nn.Conv2d(c, 1, 1)

    def up(self, x, skip):
        x = F.interpolate(x, scale_factor=2, mode="nearest")  # BUG
        # FIX: x = F.interpolate(x, size=skip.shape[-2:], mode="nearest")
        skip = skip[..., :x.shape[-2], :x.shape[-1]]  # BUG
        # FIX:
        return torch.cat([x, skip], dim=1)

    def forward(self, x):
        s1 = self.d1(x)
        s2 = self.d2(F.max_pool2d(s1, 2))
        m = self.mid(F.max_pool2d(s2, 2))
        x = self.u2(self.up(m, s2))
        x = self.u1(self.up(x, s1))
        return self.last(x)


def dice(logits, mask):
    p = logits.sigmoid()
    inter = (p * mask).sum(dim=(1, 2, 3))
    return 1 - ((2 * inter + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()


# cells in 22 x 22 crops
S = 22
gy, gx = torch.meshgrid(torch.arange(S), torch.arange(S), indexing="ij")


def sample(n):
    c = torch.randint(0, S, (2, n, 1, 1))
    mask = (((gy - c[0]) ** 2 + (gx - c[1]) ** 2) < 20).float()[:, None]
    return mask + 0.5 * torch.randn(n, 1, S, S), mask


net = UNet()
opt = torch.optim.Adam(net.parameters(), lr=5e-3)
net.train()
for step in range(40):
    img, mask = sample(8)
    out = net(img)
    mask = mask[..., :out.shape[-2], :out.shape[-1]]
    loss = F.binary_cross_entropy_with_logits(out, mask) + dice(out, mask)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 10 == 0:
        print(step, loss.item(), tuple(out.shape))

net.eval()
with torch.no_grad():
    img, mask = sample(16)
    out = net(img)
    print("eval dice", 1 - dice(out, mask[..., :out.shape[-2], :out.shape[-1]]).item())
