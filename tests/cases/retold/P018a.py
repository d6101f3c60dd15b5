"""A tiny vision transformer on 30 x 30 images where the mark may lie at the border."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class BorderMarks(Dataset):
    def __init__(self, n, size, seed):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(0, 2, (n,), generator=g)
        self.x = 0.3 * torch.randn(n, 1, size, size, generator=g)
        rows = torch.randint(0, size - 1, (n,), generator=g).tolist()
        for i, r in enumerate(rows):
            if self.y[i]:
                self.x[i, 0, r:r + 2, -2:] += 2.0
            else:
                self.x[i, 0, -2:, r:r + 2] += 2.0

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class PatchEmbed(nn.Module):
    def __init__(self, img_size, patch, dim):
        super().__init__()
        self.pad = 0  # BUG
        # FIX: self.pad = (-img_size % patch) // 2
        self.grid = (img_size + 2 * self.pad) // patch
        self.proj = nn.Conv2d(1, dim, kernel_size=patch, stride=patch, padding=self.pad)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class TinyViT(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.patch_embed = PatchEmbed(args.img_size, args.patch, args.dim)
        self.pos = nn.Parameter(0.02 * torch.randn(1, self.patch_embed.grid ** 2, args.dim))
        layer = nn.TransformerEncoderLayer(args.dim, 4, 2 * args.dim, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1)
        self.head = nn.Linear(args.dim, 2)

    def forward(self, x):
        h = self.encoder(self.patch_embed(x) + self.pos)
        return self.head(h.mean(dim=1))


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        return sum((model(x).argmax(-1) == y).sum().item() for x, y in loader) / len(loader.dataset)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--img-size", type=int, default=30)
    ap.add_argument("--patch", type=int, default=4)
    ap.add_argument("--dim", type=int, default=16)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    train = DataLoader(BorderMarks(128, args.img_size, 0), batch_size=16, shuffle=True)
    test = DataLoader(BorderMarks(64, args.img_size, 1), batch_size=16)
    model = TinyViT(args)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(args.epochs):
        model.train()
        for x, y in train:
            loss = nn.functional.cross_entropy(model(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.3f} acc {accuracy(model, test):.3f}")


if __name__ == "__main__":
    main()
