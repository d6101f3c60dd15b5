"""Super-resolution with residual blocks, mixed precision through a decorator."""
import torch
from torch import nn
from torch.nn import functional as F

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
mixed = torch.autocast(device_type=DEVICE, dtype=torch.bfloat16)


class ResBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(c, c, 3, padding=1) for _ in range(2))

    def forward(self, x):
        return x + 0.1 * self.conv2(F.relu(self.conv1(x)))


class EDSRTiny(nn.Module):
    def __init__(self, c=16, n=2, scale=2):
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, c, 3, padding=1)
        self.body = nn.Sequential(*[ResBlock(c) for _ in range(n)])
        self.tail = nn.Sequential(nn.Conv2d(c, 3 * scale ** 2, 3, padding=1), nn.PixelShuffle(scale))

    def forward(self, lr):
        h = self.head(lr)
        base = F.interpolate(lr, scale_factor=self.scale, mode="bilinear", align_corners=False)
        return base + self.tail(h + self.body(h))


class Solver:
    def __init__(self, net, lr=1e-3):
        self.net = net.to(DEVICE)
        self.opt = torch.optim.Adam(net.parameters(), lr=lr)

    # FIX+: @mixed
    def loss(self, lr, hr):
        return F.l1_loss(self.net(lr), hr)

    @mixed  # BUG
    # FIX:
    def step(self, lr, hr):
        self.net.train()
        self.opt.zero_grad(set_to_none=True)
        loss = self.loss(lr, hr)
        loss.backward()  # BUG
        self.opt.step()  # BUG
        return loss.detach()

    @torch.no_grad()
    @mixed
    def psnr(self, lr, hr):
        self.net.eval()
        mse = F.mse_loss(self.net(lr).float().clamp(0, 1), hr)
        return -10 * torch.log10(mse)


def textures(n, size=32):
    coarse = torch.rand(n, 3, 8, 8)
    hr = F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)
    return F.avg_pool2d(hr, 2), hr


def main():
    torch.manual_seed(0)
    solver = Solver(EDSRTiny())
    val_lr, val_hr = (t.to(DEVICE) for t in textures(16))
    for it in range(1, 21):
        lr, hr = (t.to(DEVICE) for t in textures(8))
        loss = solver.step(lr, hr)
        if it % 10 == 0:
            print(f"it {it} l1 {loss.item():.4f} psnr {solver.psnr(val_lr, val_hr).item():.2f}")


if __name__ == "__main__":
    main()
