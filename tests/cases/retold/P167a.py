"""Ensemble of three classifiers, majority vote and union recall."""
import argparse

import torch
import torch.nn as nn


def make_model(in_dim, hidden):
    return nn.Sequential(nn.Linear(in_dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))


class Ensemble(nn.Module):
    def __init__(self, n, in_dim, hidden):
        super().__init__()
        self.members = nn.ModuleList(make_model(in_dim, hidden) for _ in range(n))

    def forward(self, x):
        return torch.stack([m(x).squeeze(-1) for m in self.members])

    @torch.no_grad()
    def vote(self, x):
        scores = self(x)
        votes = scores[0] > 0
        for s in scores[1:]:
            votes = votes + (s > 0)  # BUG
            # FIX: votes = votes.long() + (s > 0).long()
        return votes * 2 > len(self.members)

    @torch.no_grad()
    def any_positive(self, x):
        return (self(x) > 0).any(dim=0)


class Trainer:
    def __init__(self, args):
        self.args = args
        self.x = torch.randn(400, 16)
        self.y = (self.x[:, :3].sum(1) > 0.5).float()
        self.model = Ensemble(3, 16, args.hidden)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=1e-2)
        self.criterion = nn.BCEWithLogitsLoss()

    def fit(self):
        self.model.train()
        for _ in range(self.args.steps):
            idx = torch.randint(300, (64,))
            logits = self.model(self.x[idx])
            loss = self.criterion(logits, self.y[idx].expand_as(logits))
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()

    def evaluate(self):
        self.model.eval()
        x, y = self.x[300:], self.y[300:].bool()
        acc = (self.model.vote(x) == y).float().mean()
        recall = self.model.any_positive(x)[y].float().mean()
        return acc.item(), recall.item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--hidden", type=int, default=32)
    ap.add_argument("--steps", type=int, default=10)
    torch.manual_seed(0)
    t = Trainer(ap.parse_args())
    t.fit()
    print("vote acc %.3f, union recall %.3f" % t.evaluate())
