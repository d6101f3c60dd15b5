import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class TinyEngine(nn.Module):
    """A small distributed-style engine: owns the optimizer and the bookkeeping of submodules."""

    def __init__(self, module, lr):
        super().__init__()
        self.module = module
        self.optimizer = torch.optim.Adam(module.parameters(), lr=lr)
        self._register_ids()

    def _register_ids(self):
        for k, m in enumerate(self.module.modules()):
            m.id = k  # BUG
            m.seen = 0
            m.register_forward_pre_hook(self._count)

    @staticmethod
    def _count(m, args):
        m.seen += 1

    def forward(self, *args):
        return self.module(*args)

    def backward(self, loss):
        self.optimizer.zero_grad()
        loss.backward()

    def step(self):
        self.optimizer.step()

    def report(self):
        return {m.id: m.seen for m in self.module.modules()}


class Expert(nn.Module):
    def __init__(self, index, dim):
        super().__init__()
        self.id = index  # BUG
        # FIX: self.expert_index = index
        self.net = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim))

    def forward(self, x, gate):
        picked = gate.argmax(-1) == self.id  # BUG
        # FIX: picked = gate.argmax(-1) == self.expert_index
        weight = gate.max(-1).values * picked
        return weight.unsqueeze(-1) * self.net(x)


class MoE(nn.Module):
    def __init__(self, dim, n_experts, n_classes):
        super().__init__()
        self.gate = nn.Linear(dim, n_experts)
        self.experts = nn.ModuleList(Expert(i, dim) for i in range(n_experts))
        self.out = nn.Linear(dim, n_classes)

    def forward(self, x):
        gate = self.gate(x).softmax(-1)
        return self.out(x + sum(e(x, gate) for e in self.experts))


def main(args):
    torch.manual_seed(args.seed)
    x = torch.randn(256, args.dim)
    y = (x[:, 0] * x[:, 1] > 0).long()
    engine = TinyEngine(MoE(args.dim, args.experts, 2), args.lr)
    for epoch in range(args.epochs):
        engine.train()
        for xb, yb in DataLoader(TensorDataset(x[:192], y[:192]), 32, shuffle=True):
            loss = F.cross_entropy(engine(xb), yb)
            engine.backward(loss)
            engine.step()
        engine.eval()
        with torch.no_grad():
            acc = (engine(x[192:]).argmax(1) == y[192:]).float().mean().item()
        print(f"epoch {epoch} loss {loss.item():.3f} acc {acc:.3f} modules {len(engine.report())}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--dim", type=int, default=12)
    ap.add_argument("--experts", type=int, default=4)
    ap.add_argument("--lr", type=float, default=5e-3)
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--seed", type=int, default=0)
    main(ap.parse_args())
