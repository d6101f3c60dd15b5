"""Pipeline of stages over the visible devices, wrapped by a small tracing engine."""
import itertools

import torch
import torch.nn as nn
import torch.nn.functional as F


# ----------------------------------------------------------------- engine/tracing.py
class TracingEngine:
    """wraps a model: numbers its modules, counts their calls, owns the optimizer step"""

    def __init__(self, module, optimizer):
        self.module, self.optimizer = module, optimizer
        self.calls = {}
        counter = itertools.count()
        for sub in module.modules():
            sub.id = next(counter)
            sub.register_forward_hook(self._count)

    def _count(self, sub, args, output):
        self.calls[sub.id] = self.calls.get(sub.id, 0) + 1

    def __call__(self, *args):
        return self.module(*args)

    def step(self, loss):
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def initialize(model, lr):
    return TracingEngine(model, torch.optim.Adam(model.parameters(), lr=lr))


# ----------------------------------------------------------------- models/pipeline.py
def visible_devices():
    if torch.cuda.is_available():
        return [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    return [torch.device("cpu")]


class Stage(nn.Module):
    def __init__(self, number, n_stages, width, devices):
        super().__init__()
        self.id = number  # BUG
        # FIX: self.stage_number = number
        self.n_stages = n_stages
        self.devices = devices
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)
        self.to(devices[number % len(devices)])

    def forward(self, x):
        x = x.to(self.devices[self.id % len(self.devices)])  # BUG
        # FIX: x = x.to(self.devices[self.stage_number % len(self.devices)])
        skip_rate = 0.1 * self.id / self.n_stages  # BUG
        # FIX: skip_rate = 0.1 * self.stage_number / self.n_stages
        branch = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return x + F.dropout(branch, p=skip_rate, training=self.training)


class Pipeline(nn.Module):
    def __init__(self, n_in, n_out, width=24, n_stages=4):
        super().__init__()
        devices = visible_devices()
        self.stem = nn.Linear(n_in, width).to(devices[0])
        self.stages = nn.ModuleList(Stage(i, n_stages, width, devices) for i in range(n_stages))
        self.head = nn.Linear(width, n_out).to(devices[(n_stages - 1) % len(devices)])

    def forward(self, x):
        x = self.stem(x.to(self.stem.weight.device))
        for stage in self.stages:
            x = stage(x)
        return self.head(x)


def main():
    torch.manual_seed(6)
    x = torch.randn(256, 12)
    y = (x[:, :3].sum(1) > 0).long() + (x[:, 3] > 0.5).long()
    engine = initialize(Pipeline(12, 3), lr=3e-3)
    for epoch in range(4):
        engine.module.train()
        for idx in torch.randperm(len(x)).split(32):
            logits = engine(x[idx])
            loss = F.cross_entropy(logits, y[idx].to(logits.device))
            engine.step(loss)
        print(f"epoch {epoch} loss {loss.item():.4f}")
    engine.module.eval()
    with torch.no_grad():
        print("train acc", (engine(x).argmax(1).cpu() == y).float().mean().item())
    print("traced modules:", len(engine.calls))


if __name__ == "__main__":
    main()
