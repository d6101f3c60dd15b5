import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class TimeSeries(Dataset):
    def __init__(self, n, window, seed):
        g = torch.Generator().manual_seed(seed)
        t = torch.arange(n + window + 1).float()
        s = torch.sin(t / 4) + 0.5 * torch.cos(t / 9) + 0.05 * torch.randn(t.shape, generator=g)
        self.win = s.unfold(0, window + 1, 1)[:n]

    def __len__(self):
        return len(self.win)

    def __getitem__(self, i):
        return self.win[i, :-1].unsqueeze(-1), self.win[i, -1:]


class Forecaster(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, batch_first=True)
        self.fc = nn.Linear(hidden, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.fc(out[:, -1])


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = Forecaster(args.hidden)
        self.criterion = nn.MSELoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def backward(self, loss):
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_norm)

    def step(self):
        self.optimizer.zero_grad()  # BUG
        # FIX:
        self.optimizer.step()
        # FIX+: self.optimizer.zero_grad()

    def run(self, loader, val):
        for epoch in range(self.args.epochs):
            self.model.train()
            for x, y in loader:
                loss = self.criterion(self.model(x), y)
                self.backward(loss)
                self.step()
            print(f"epoch {epoch} loss {loss.item():.4f} val {self.validate(val):.4f}")

    @torch.no_grad()
    def validate(self, loader):
        self.model.eval()
        se = n = 0
        for x, y in loader:
            se += (self.model(x) - y).pow(2).sum().item()
            n += y.numel()
        return se / n


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--hidden", type=int, default=24)
    ap.add_argument("--window", type=int, default=16)
    ap.add_argument("--lr", type=float, default=1e-2)
    ap.add_argument("--max_norm", type=float, default=1.0)
    ap.add_argument("--epochs", type=int, default=3)
    args = ap.parse_args()
    torch.manual_seed(0)
    train, val = TimeSeries(256, args.window, 0), TimeSeries(64, args.window, 1)
    Trainer(args).run(DataLoader(train, 32, shuffle=True), DataLoader(val, 64))
