import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class SeqRegressor(nn.Module):
    def __init__(self, d_in, hidden):
        super().__init__()
        self.rnn = nn.RNN(d_in, hidden, nonlinearity="tanh", batch_first=True)
        self.out = nn.Linear(hidden, 1)

    def forward(self, x):
        _, h = self.rnn(x)
        return self.out(h[-1])


class Optimizer:
    """Wraps a torch optimizer with gradient clipping and warmup."""

    def __init__(self, params, lr, max_grad_norm, warmup):
        self.params = list(params)
        self.opt = torch.optim.Adam(self.params, lr=lr)
        self.max_grad_norm, self.warmup, self.lr, self._step = max_grad_norm, warmup, lr, 0
        self.last_norm = 0.0

    def zero_grad(self):
        self.opt.zero_grad()

    def step(self):
        self._step += 1
        for group in self.opt.param_groups:
            group["lr"] = self.lr * min(1.0, self._step / self.warmup)
        self.opt.step()  # BUG
        # FIX:
        if self.max_grad_norm > 0:
            self.last_norm = float(nn.utils.clip_grad_norm_(self.params, self.max_grad_norm))  # BUG
        # FIX+: self.opt.step()


def adding_problem(n, length, seed):
    g = torch.Generator().manual_seed(seed)
    vals = torch.rand(n, length, generator=g)
    marks = torch.zeros(n, length)
    for row in marks:
        row[torch.randperm(length, generator=g)[:2]] = 1
    return torch.stack([vals, marks], -1), (vals * marks).sum(1, keepdim=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--length", type=int, default=12)
    ap.add_argument("--hidden", type=int, default=32)
    ap.add_argument("--lr", type=float, default=5e-3)
    ap.add_argument("--clip", type=float, default=0.5)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    model, criterion = SeqRegressor(2, args.hidden), nn.MSELoss()
    optim = Optimizer(model.parameters(), args.lr, args.clip, warmup=5)
    loader = DataLoader(TensorDataset(*adding_problem(256, args.length, 0)), 32, shuffle=True)
    xv, yv = adding_problem(64, args.length, 1)
    for epoch in range(args.epochs):
        model.train()
        for x, y in loader:
            optim.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optim.step()
        model.eval()
        with torch.no_grad():
            val = criterion(model(xv), yv).item()
        print(f"epoch {epoch} loss {loss.item():.4f} grad norm {optim.last_norm:.3f} val {val:.4f}")


if __name__ == "__main__":
    main()
