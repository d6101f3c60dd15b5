import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class MultiTaskNet(nn.Module):
    def __init__(self, d_in, hidden):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(d_in, hidden), nn.ReLU())
        self.age = nn.Linear(hidden, 1)
        self.sex = nn.Linear(hidden, 2)

    def forward(self, x):
        h = self.trunk(x)
        return self.age(h).squeeze(-1), self.sex(h)


class LossMeter:
    def __init__(self):
        self.values = {}

    def update(self, **losses):
        for k, v in losses.items():
            self.values.setdefault(k, []).append(v)

    def mean(self):
        return {k: round(sum(v) / len(v), 4) for k, v in self.values.items()}


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        self.model = MultiTaskNet(12, cfg.hidden)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=cfg.lr)

    def combine(self, parts):
        weights = {"age": self.cfg.w_age, "sex": self.cfg.w_sex}
        weighted = [weights[k] * v.item() for k, v in parts.items()]  # BUG
        # FIX: weighted = [weights[k] * v for k, v in parts.items()]
        return torch.tensor(sum(weighted), requires_grad=True)  # BUG
        # FIX: return torch.stack(weighted).sum()

    def run_epoch(self, loader):
        meter = LossMeter()
        self.model.train()
        for x, age, sex in loader:
            p_age, p_sex = self.model(x)
            parts = {"age": F.l1_loss(p_age, age), "sex": F.cross_entropy(p_sex, sex)}
            loss = self.combine(parts)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            meter.update(total=loss.item(), **{k: v.item() for k, v in parts.items()})
        return meter.mean()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--hidden", type=int, default=32)
    ap.add_argument("--lr", type=float, default=5e-3)
    ap.add_argument("--w_age", type=float, default=0.5)
    ap.add_argument("--w_sex", type=float, default=1.0)
    ap.add_argument("--epochs", type=int, default=4)
    cfg = ap.parse_args()
    torch.manual_seed(0)
    x = torch.randn(160, 12)
    data = TensorDataset(x, x[:, 0] * 2 + x[:, 1], (x[:, 2] + x[:, 3] > 0).long())
    trainer = Trainer(cfg)
    loader = DataLoader(data, batch_size=32, shuffle=True)
    for epoch in range(cfg.epochs):
        print(epoch, trainer.run_epoch(loader))
