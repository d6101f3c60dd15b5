import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class ChannelNorm(nn.Module):
    """Layer normalisation over the last dimension."""

    def __init__(self, features, eps=1e-6):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(features))
        self.shift = nn.Parameter(torch.zeros(features))
        self.eps = eps

    def forward(self, x):
        mean = x.mean(dim=-1, keepdim=True)
        sigma = torch.std(x, dim=-1, keepdim=True)  # BUG
        # FIX: var = torch.var(x, dim=-1, keepdim=True, correction=0)
        normed = (x - mean) / (sigma + self.eps)  # BUG
        # FIX: normed = (x - mean) * torch.rsqrt(var + self.eps)
        return self.gain * normed + self.shift


class FeedForward(nn.Module):
    def __init__(self, dim, mult):
        super().__init__()
        self.norm = ChannelNorm(dim)
        self.fc = nn.Sequential(nn.Linear(dim, mult * dim), nn.GELU(), nn.Linear(mult * dim, dim))

    def forward(self, x):
        return x + self.fc(self.norm(x))


class Mixer(nn.Module):
    def __init__(self, dim=8, tokens=9, depth=2, n_classes=3):
        super().__init__()
        self.token_mix = nn.ModuleList(nn.Linear(tokens, tokens) for _ in range(depth))
        self.channel_mix = nn.ModuleList(FeedForward(dim, 2) for _ in range(depth))
        self.head = nn.Linear(dim, n_classes)

    def forward(self, x):
        for tm, cm in zip(self.token_mix, self.channel_mix):
            x = x + tm(x.transpose(1, 2)).transpose(1, 2)
            x = cm(x)
        return self.head(x.mean(1))


class Patches(Dataset):
    def __init__(self, n=150):
        g = torch.Generator().manual_seed(0)
        self.y = torch.randint(0, 3, (n,), generator=g)
        self.x = torch.randn(n, 9, 8, generator=g)
        self.x[:, :3, 0] += self.y[:, None].float()

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def main(args):
    torch.manual_seed(args.seed)
    model = Mixer()
    loader = DataLoader(Patches(), batch_size=25, shuffle=True)
    no_decay = [p for p in model.parameters() if p.ndim < 2]
    decay = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": no_decay, "weight_decay": 0.0}]
    opt = torch.optim.AdamW(groups, lr=args.lr)
    for epoch in range(args.epochs):
        model.train()
        for x, y in loader:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y, label_smoothing=0.1)
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
