import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class CaptionedImages(Dataset):
    """Image feature plus up to five object tags (some images have no tag at all)."""

    def __init__(self, n=160, max_tags=5, n_tags=12, dim=16):
        self.n_obj = torch.randint(0, max_tags + 1, (n,))
        self.tags = torch.randint(0, n_tags, (n, max_tags))
        self.feat = torch.randn(n, dim)
        self.target = (self.n_obj.float() + self.feat[:, 0]).unsqueeze(1)
        self.max_tags = max_tags

    def __len__(self):
        return len(self.feat)

    def __getitem__(self, i):
        empty = torch.arange(self.max_tags) >= self.n_obj[i]
        return self.feat[i], self.tags[i], empty, self.target[i]


class CrossAttention(nn.Module):
    def __init__(self, dim, heads, n_tags):
        super().__init__()
        self.tag_emb = nn.Embedding(n_tags, dim)
        self.mha = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, feat, tags, empty):
        query = feat.unsqueeze(1)
        keys = self.tag_emb(tags)
        # FIX+: nothing = empty.all(dim=1)
        # FIX+: empty = empty & ~nothing[:, None]
        ctx, attn = self.mha(query, keys, keys, key_padding_mask=empty)  # BUG
        # FIX: ctx, attn = self.mha(query, keys, keys, key_padding_mask=empty)
        # FIX: ctx = ctx.masked_fill(nothing[:, None, None], 0.0)
        self.last_attn = attn.detach()
        return self.norm(query + ctx).squeeze(1)


class Model(nn.Module):
    def __init__(self, dim=16, heads=2, n_tags=12):
        super().__init__()
        self.cross = CrossAttention(dim, heads, n_tags)
        self.head = nn.Sequential(nn.Linear(dim, 32), nn.GELU(), nn.Linear(32, 1))

    def forward(self, feat, tags, empty):
        return self.head(self.cross(feat, tags, empty))


class Trainer:
    def __init__(self, args):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.loader = DataLoader(CaptionedImages(), batch_size=args.batch_size, shuffle=True)
        self.model = Model().to(self.device)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=args.lr)
        self.loss_fn = nn.MSELoss()

    def train_epoch(self):
        self.model.train()
        total = 0.0
        for batch in self.loader:
            feat, tags, empty, target = (t.to(self.device) for t in batch)
            self.opt.zero_grad()
            loss = self.loss_fn(self.model(feat, tags, empty), target)
            loss.backward()
            self.opt.step()
            total += loss.item() * len(target)
        return total / len(self.loader.dataset)

    def fit(self):
        for epoch in range(self.args.epochs):
            print(f"epoch {epoch} mse {self.train_epoch():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", dest="batch_size", type=int, default=20)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    Trainer(args).fit()
