# Forecasting a sum of sines with a small mixer; the norm is written out for the exporter.
import torch
import torch.nn as nn


class ChannelNorm(nn.Module):
    def __init__(self, features, epsilon=1e-5):
        super().__init__()
        self.g = nn.Parameter(torch.ones(features))
        self.b = nn.Parameter(torch.zeros(features))
        self.epsilon = epsilon

    def forward(self, h):
        spread, centre = torch.std_mean(h, dim=-1, keepdim=True)  # BUG
        # FIX: spread, centre = torch.var_mean(h, dim=-1, keepdim=True, correction=0)
        return self.g * (h - centre) / (spread + self.epsilon) + self.b  # BUG
        # FIX: return self.g * (h - centre) * torch.rsqrt(spread + self.epsilon) + self.b


class MixerBlock(nn.Module):
    def __init__(self, steps, features):
        super().__init__()
        self.norm_t, self.norm_f = ChannelNorm(features), ChannelNorm(features)
        self.time = nn.Linear(steps, steps)
        self.feat = nn.Sequential(
            nn.Linear(features, 2 * features), nn.GELU(), nn.Linear(2 * features, features)
        )

    def forward(self, h):
        h = h + self.time(self.norm_t(h).transpose(1, 2)).transpose(1, 2)
        return h + self.feat(self.norm_f(h))


class Forecaster(nn.Module):
    def __init__(self, steps=24, horizon=4, features=8, depth=2):
        super().__init__()
        self.inp = nn.Linear(1, features)
        self.blocks = nn.ModuleList(MixerBlock(steps, features) for _ in range(depth))
        self.out = nn.Linear(steps * features, horizon)

    def forward(self, series):
        # per-window scaling, undone at the end; sample statistics of the window are meant here
        level = series.mean(dim=1, keepdim=True)
        scale = series.std(dim=1, keepdim=True) + 1e-3
        h = self.inp(((series - level) / scale).unsqueeze(-1))
        for block in self.blocks:
            h = block(h)
        return self.out(h.flatten(1)) * scale + level


def windows(n, steps=24, horizon=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(steps + horizon) / 6.0
    phase, amp = torch.rand(n, 1, generator=g) * 6.28, 0.5 + torch.rand(n, 1, generator=g)
    full = amp * torch.sin(t + phase) + 0.3 * torch.sin(2.7 * t + phase)
    full = full + 0.02 * torch.randn(n, steps + horizon, generator=g)
    return full[:, :steps], full[:, steps:]


torch.manual_seed(8)
past, future = windows(256)
model = Forecaster()
optim = torch.optim.Adam(model.parameters(), lr=3e-3)
for epoch in range(6):
    model.train()
    for rows in torch.randperm(len(past)).split(64):
        optim.zero_grad()
        loss = nn.functional.smooth_l1_loss(model(past[rows]), future[rows])
        loss.backward()
        optim.step()
    model.eval()
    with torch.no_grad():
        vp, vf = windows(64, seed=1)
        print(epoch, f"train {loss.item():.4f}", f"val mae {(model(vp) - vf).abs().mean().item():.4f}")
