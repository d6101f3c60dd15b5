"""Self-attention text classifier."""
import argparse
import math
import torch
import torch.nn as nn
from torch.nn import functional as F


def scaled_dot_attention(q, k, v, mask=None, dropout_p=0.0):
    score = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))
    if mask is not None:
        score = score.masked_fill(~mask, float("-inf"))
    weight = F.dropout(score.softmax(dim=-1), p=dropout_p, training=dropout_p > 0)
    return weight @ v


class SelfAttention(nn.Module):
    def __init__(self, dim, heads, attn_drop):
        super().__init__()
        self.heads = heads
        self.attn_drop = attn_drop
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x, mask):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        out = scaled_dot_attention(q, k, v, mask[:, None, None, :], dropout_p=self.attn_drop)  # BUG
        # FIX: drop_p = self.attn_drop if self.training else 0.0
        # FIX: out = scaled_dot_attention(q, k, v, mask[:, None, None, :], dropout_p=drop_p)
        return self.proj(out.transpose(1, 2).reshape(b, t, d))


class Classifier(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.tok = nn.Embedding(cfg.vocab, cfg.dim, padding_idx=0)
        self.attn = SelfAttention(cfg.dim, cfg.heads, cfg.dropout)
        self.norm = nn.LayerNorm(cfg.dim)
        self.drop = nn.Dropout(cfg.dropout)
        self.out = nn.Linear(cfg.dim, 2)

    def forward(self, ids):
        mask = ids.ne(0)
        x = self.tok(ids)
        x = self.norm(x + self.attn(x, mask))
        m = mask.unsqueeze(-1)
        return self.out(self.drop((x * m).sum(1) / m.sum(1)))


def make_data(n, vocab):
    ids = torch.randint(2, vocab, (n, 12))
    y = torch.randint(0, 2, (n,))
    ids[y == 1, 3] = 1
    length = torch.randint(6, 13, (n, 1))
    return ids * (torch.arange(12) < length), y


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--vocab", type=int, default=40)
    p.add_argument("--dim", type=int, default=32)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--dropout", type=float, default=0.2)
    p.add_argument("--steps", type=int, default=30)
    cfg = p.parse_args()
    torch.manual_seed(0)
    model = Classifier(cfg)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    x_val, y_val = make_data(64, cfg.vocab)
    for step in range(cfg.steps):
        model.train()
        x, y = make_data(32, cfg.vocab)
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        first, second = model(x_val), model(x_val)
        print("val acc", (first.argmax(1) == y_val).float().mean().item(),
              "spread", (first - second).abs().max().item())


if __name__ == "__main__":
    main()
