"""Human activity recognition from wearable sensors: small transformer encoder."""
import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

CFG = SimpleNamespace(
    channels=6, window=40, classes=3, lr=2e-3, steps_log=5, epochs=3, batch=16,
    encoder=dict(
        d_model=32,
        nhead=4,
        dim_feedforward=64,
        dropout=0.1,
        activation="gelu",  # BUG
        # FIX: activation="gelu",
        # FIX: batch_first=True,
    ),
)


class SensorWindows(Dataset):
    """Each item: window (window, channels) float, activity id."""

    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, CFG.classes, (n,), generator=g)
        t = torch.arange(CFG.window) / CFG.window
        phase = 0.1 * torch.rand(n, CFG.channels, generator=g)
        freq = 2.0 + 3.0 * self.y.float()
        angle = 2 * math.pi * (freq[:, None, None] * t[None, :, None] + phase[:, None, :])
        self.x = torch.sin(angle) + 0.3 * torch.randn(n, CFG.window, CFG.channels, generator=g)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class ActivityTransformer(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        width = cfg.encoder["d_model"]
        self.embed = nn.Linear(cfg.channels, width)
        self.position = nn.Parameter(torch.zeros(1, cfg.window, width))
        nn.init.trunc_normal_(self.position, std=0.02)
        layer = nn.TransformerEncoderLayer(**cfg.encoder)  # BUG
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, cfg.classes))

    def forward(self, window):
        h = self.embed(window) + self.position
        h = self.encoder(h)
        return self.head(h.mean(dim=1))


def run_epoch(model, loader, opt=None):
    training = opt is not None
    model.train(training)
    loss_sum, right, seen = 0.0, 0, 0
    with torch.set_grad_enabled(training):
        for window, activity in loader:
            logits = model(window)
            loss = nn.functional.cross_entropy(logits, activity)
            if training:
                opt.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                opt.step()
            loss_sum += loss.item() * len(activity)
            right += (logits.argmax(1) == activity).sum().item()
            seen += len(activity)
    return loss_sum / seen, right / seen


def main():
    torch.manual_seed(3)
    train = DataLoader(SensorWindows(256, 0), batch_size=CFG.batch, shuffle=True)
    valid = DataLoader(SensorWindows(64, 1), batch_size=CFG.batch)
    model = ActivityTransformer(CFG)
    opt = torch.optim.AdamW(model.parameters(), lr=CFG.lr)
    for epoch in range(CFG.epochs):
        tr = run_epoch(model, train, opt)
        va = run_epoch(model, valid)
        print(f"[{epoch}] train {tr[0]:.3f}/{tr[1]:.2f}  valid {va[0]:.3f}/{va[1]:.2f}")


if __name__ == "__main__":
    main()
