import argparse
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class PaddedSequences(Dataset):
    """Variable-length symbol sequences; the label is the most frequent of three marked symbols."""

    def __init__(self, n=128, max_len=14, vocab=20, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.lengths = torch.randint(5, max_len + 1, (n,), generator=g)
        self.tokens = torch.randint(1, vocab, (n, max_len), generator=g)
        self.tokens[torch.arange(max_len) >= self.lengths[:, None]] = 0
        self.labels = torch.stack([(self.tokens == k).sum(1) for k in (1, 2, 3)], dim=1).argmax(1)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.tokens[i], self.labels[i]


class SelfAttention(nn.Module):
    masked_bias = -1e9  # BUG

    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.head_dim = heads, dim // heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, is_pad):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
        scores.masked_fill_(is_pad[:, None, None, :], self.masked_bias)  # BUG
        # FIX: scores.masked_fill_(is_pad[:, None, None, :], torch.finfo(scores.dtype).min)
        out = (scores.softmax(dim=-1).to(v.dtype) @ v).transpose(1, 2).reshape(b, t, d)
        return self.proj(out)


class Classifier(nn.Module):
    def __init__(self, vocab=20, dim=32, heads=4):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.attn = SelfAttention(dim, heads)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 3)

    def forward(self, tokens):
        is_pad = tokens == 0
        h = self.emb(tokens)
        h = self.norm(h + self.attn(h, is_pad))
        h = h.masked_fill(is_pad[..., None], 0.0).sum(1) / (~is_pad).sum(1, keepdim=True)
        return self.head(h)


class Trainer:
    def __init__(self, args):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.amp_dtype = torch.float16 if self.device == "cuda" else torch.bfloat16
        self.model = Classifier().to(self.device)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=args.lr)
        self.scaler = torch.amp.GradScaler(self.device, enabled=self.amp_dtype is torch.float16)
        self.loader = DataLoader(PaddedSequences(), batch_size=16, shuffle=True)

    def fit(self, epochs):
        for epoch in range(epochs):
            self.model.train()
            for tokens, labels in self.loader:
                tokens, labels = tokens.to(self.device), labels.to(self.device)
                self.opt.zero_grad()
                with torch.autocast(self.device, dtype=self.amp_dtype):
                    loss = nn.functional.cross_entropy(self.model(tokens), labels)
                self.scaler.scale(loss).backward()
                self.scaler.step(self.opt)
                self.scaler.update()
            print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.manual_seed(0)
    Trainer(args).fit(args.epochs)
