"""Class-conditional generator trained to match class templates (conditional autoencoder)."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Templates(Dataset):
    def __init__(self, n, n_classes, dim, seed):
        g = torch.Generator().manual_seed(seed)
        templates = torch.randn(n_classes, dim, generator=torch.Generator().manual_seed(5))
        self.label = torch.randint(n_classes, (n,), generator=g)
        self.x = templates[self.label] + 0.3 * torch.randn(n, dim, generator=g)

    def __len__(self):
        return len(self.label)

    def __getitem__(self, i):
        return self.x[i], self.label[i]


class OneHot(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.n_classes = n_classes

    def forward(self, label):
        code = torch.zeros(label.size(0), self.n_classes, device=label.device)
        index = label.unsqueeze(0)  # BUG
        # FIX: index = label.unsqueeze(1)
        return code.scatter_(1, index, 1.0)


class CVAE(nn.Module):
    def __init__(self, dim, n_classes, latent=2, hidden=32):
        super().__init__()
        self.code = OneHot(n_classes)
        wide = dim + n_classes
        self.enc = nn.Sequential(nn.Linear(wide, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
        self.dec = nn.Sequential(nn.Linear(latent + n_classes, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.latent = latent

    def forward(self, x, label):
        c = self.code(label)
        mu, logvar = self.enc(torch.cat([x, c], dim=1)).chunk(2, dim=1)
        z = mu + (0.5 * logvar).exp() * torch.randn_like(mu)
        kl = 0.5 * (mu ** 2 + logvar.exp() - 1 - logvar).sum(1).mean()
        return self.dec(torch.cat([z, c], dim=1)), kl

    @torch.no_grad()
    def sample(self, label):
        z = torch.randn(label.size(0), self.latent)
        return self.dec(torch.cat([z, self.code(label)], dim=1))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--classes", type=int, default=5)
    ap.add_argument("--dim", type=int, default=12)
    ap.add_argument("--epochs", type=int, default=6)
    ap.add_argument("--lr", type=float, default=5e-3)
    args = ap.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(Templates(256, args.classes, args.dim, 0), batch_size=32, shuffle=True)
    model = CVAE(args.dim, args.classes)
    opt = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        model.train()
        total = 0.0
        for x, label in loader:
            recon, kl = model(x, label)
            loss = (recon - x).pow(2).sum(1).mean() + kl
            opt.zero_grad()
            loss.backward()
            opt.step()
            total += loss.item() * len(x)
        print(epoch, total / len(loader.dataset))
    model.eval()
    print(model.sample(torch.arange(args.classes)).mean(dim=1))


if __name__ == "__main__":
    main()
