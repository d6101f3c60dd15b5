import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Adding(Dataset):
    """The adding problem: sum the two marked numbers of a sequence."""

    def __init__(self, n=192, length=15):
        g = torch.Generator().manual_seed(0)
        value = torch.rand(n, length, generator=g)
        mark = torch.zeros(n, length)
        for row in mark:
            row[torch.randperm(length, generator=g)[:2]] = 1.0
        self.x = torch.stack([value, mark], dim=-1)
        self.y = (value * mark).sum(1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class ElmanCell(nn.Module):
    def __init__(self, n_in, n_hidden, scale):
        super().__init__()
        self.wx = nn.Linear(n_in, n_hidden)
        self.wh = nn.Linear(n_hidden, n_hidden, bias=False)
        for lin in (self.wx, self.wh):
            nn.init.uniform_(lin.weight, -scale, scale)  # BUG
            # FIX: nn.init.xavier_uniform_(lin.weight, gain=scale)

    def forward(self, x, h):
        return torch.tanh(self.wx(x) + self.wh(h))


class Model(nn.Module):
    def __init__(self, n_hidden, scale):
        super().__init__()
        self.cell = ElmanCell(2, n_hidden, scale)
        self.readout = nn.Linear(n_hidden, 1)

    def forward(self, seq):
        h = seq.new_zeros(seq.shape[0], self.readout.in_features)
        for x in seq.unbind(dim=1):
            h = self.cell(x, h)
        return self.readout(h).squeeze(-1)


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = Model(args.hidden, args.init_scale)
        self.loader = DataLoader(Adding(), batch_size=32, shuffle=True)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def fit(self):
        for epoch in range(self.args.epochs):
            self.model.train()
            for seq, y in self.loader:
                self.opt.zero_grad()
                loss = nn.functional.mse_loss(self.model(seq), y)
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.opt.step()
            print(f"epoch {epoch} mse {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--init-scale", type=float, default=8.0)  # BUG
    # FIX: parser.add_argument("--init-scale", type=float, default=1.0)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    torch.manual_seed(0)
    Trainer(args).fit()
