"""Stateful GRU forecaster on a long multivariate series; one update per pass over the sequence."""
import torch
from torch import nn


class StatefulForecaster(nn.Module):
    def __init__(self, n_feat, hidden):
        super().__init__()
        self.rnn = nn.GRU(n_feat, hidden, batch_first=True)
        self.readout = nn.Linear(hidden, n_feat)
        self.memory = None

    def reset(self):
        self.memory = None

    def forward(self, window):
        out, state = self.rnn(window, self.memory)
        self.memory = state  # BUG
        # FIX: self.memory = state.detach()
        return self.readout(out)


def make_series(n_streams, length, n_feat):
    t = torch.arange(length, dtype=torch.float32)
    freq = 0.02 + 0.1 * torch.rand(n_streams, 1, n_feat)
    phase = 6.28 * torch.rand(n_streams, 1, n_feat)
    return torch.sin(t[None, :, None] * freq * 6.28 + phase) + 0.05 * torch.randn(n_streams, length, n_feat)


def windows(series, k):
    for s in range(0, series.shape[1] - 1, k):
        e = min(s + k, series.shape[1] - 1)
        yield series[:, s:e], series[:, s + 1:e + 1]


def train_pass(model, optimizer, series, k):
    model.train()
    model.reset()
    optimizer.zero_grad()
    pieces = list(windows(series, k))
    total = 0.0
    for x, y in pieces:
        loss = nn.functional.mse_loss(model(x), y) / len(pieces)
        loss.backward(retain_graph=True)  # BUG
        # FIX: loss.backward()
        total += loss.item()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return total


@torch.no_grad()
def score(model, series, k):
    model.eval()
    model.reset()
    errs = [nn.functional.mse_loss(model(x), y) for x, y in windows(series, k)]
    return torch.stack(errs).mean().item()


if __name__ == "__main__":
    torch.manual_seed(21)
    data = make_series(24, 129, 3)
    train, val = data[:16], data[16:]
    net = StatefulForecaster(3, 24)
    opt = torch.optim.Adam(net.parameters(), lr=1e-2)
    for i in range(6):
        loss = train_pass(net, opt, train, k=16)
        if i % 3 == 0:
            print(f"pass {i}: train {loss:.4f} val {score(net, val, 16):.4f}")
