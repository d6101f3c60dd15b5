"""Trains a small CNN and reports its cost."""
import argparse
import time

import torch
import torch.nn as nn


class FlopCounter:
    """FLOPs of one forward pass, counted with forward hooks."""

    def __init__(self, model):
        self.model, self.total, self.handles = model, 0, []

    def _conv(self, m, inputs, out):
        kh, kw = m.kernel_size
        per_position = kh * kw * (m.in_channels // m.groups)
        self.total += out.numel() * per_position  # BUG
        # FIX: self.total += 2 * out.numel() * per_position

    def _linear(self, m, inputs, out):
        self.total += out.numel() * m.in_features  # BUG
        # FIX: self.total += 2 * out.numel() * m.in_features

    def __enter__(self):
        for m in self.model.modules():
            if isinstance(m, nn.Conv2d):
                self.handles.append(m.register_forward_hook(self._conv))
            elif isinstance(m, nn.Linear):
                self.handles.append(m.register_forward_hook(self._linear))
        return self

    def __exit__(self, *exc):
        for h in self.handles:
            h.remove()


class Net(nn.Module):
    def __init__(self, width, classes=8):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                                  nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(2 * width, classes)

    def forward(self, x):
        return self.fc(self.body(x).mean(dim=(-2, -1)))


def train(model, x, y, steps):
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for i in range(steps):
        idx = torch.randint(len(x), (32,))
        loss = nn.functional.cross_entropy(model(x[idx]), y[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--width", type=int, default=16)
    p.add_argument("--steps", type=int, default=8)
    args = p.parse_args()
    torch.manual_seed(0)
    x, y = torch.randn(128, 3, 32, 32), torch.randint(8, (128,))
    model = Net(args.width)
    model.eval()
    with torch.no_grad(), FlopCounter(model) as counter:
        model(x[:1])
    start = time.perf_counter()
    loss = train(model, x, y, args.steps)
    seconds = time.perf_counter() - start
    gflops = 3 * counter.total * 32 * args.steps / seconds / 1e9    # backward counts twice the forward
    print(f"loss {loss:.3f}  {counter.total / 1e6:.2f} MFLOPs per image  {gflops:.1f} GFLOP/s")


if __name__ == "__main__":
    main()
