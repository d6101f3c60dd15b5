# sentiment of short reviews with a one-block encoder
import math
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Cfg:
    vocab: int = 60
    width: int = 32
    n_heads: int = 4
    max_tokens: int = 24
    batch: int = 24
    steps: int = 30
    pad_id: int = 0


class Attention(nn.Module):
    def __init__(self, cfg: Cfg):
        super().__init__()
        self.h, self.d = cfg.n_heads, cfg.width // cfg.n_heads
        self.to_qkv = nn.Linear(cfg.width, 3 * cfg.width, bias=False)
        self.proj = nn.Linear(cfg.width, cfg.width)

    def forward(self, x, bias):
        b, t, _ = x.shape
        q, k, v = self.to_qkv(x).view(b, t, 3, self.h, self.d).permute(2, 0, 3, 1, 4)
        sim = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(self.d)
        weights = (sim + bias).softmax(dim=-1)  # BUG
        # FIX: weights = (sim + bias[:, None, None, :]).softmax(dim=-1)
        mixed = torch.einsum("bhij,bhjd->bihd", weights, v).reshape(b, t, -1)
        return self.proj(mixed)


class ReviewEncoder(nn.Module):
    def __init__(self, cfg: Cfg):
        super().__init__()
        self.cfg = cfg
        self.tok = nn.Embedding(cfg.vocab, cfg.width, padding_idx=cfg.pad_id)
        self.pos = nn.Parameter(torch.zeros(cfg.max_tokens, cfg.width))
        self.norm = nn.LayerNorm(cfg.width)
        self.attn = Attention(cfg)
        self.cls = nn.Linear(cfg.width, 2)

    def forward(self, ids):
        keep = ids.ne(self.cfg.pad_id)
        bias = torch.zeros(ids.shape, device=ids.device).masked_fill(~keep, -1e4)
        x = self.tok(ids) + self.pos          # (B, T, D) + (T, D)
        x = x + self.attn(self.norm(x), bias)
        keep = keep.unsqueeze(-1).float()
        pooled = (x * keep).sum(1) / keep.sum(1)
        return self.cls(pooled)


def make_batch(cfg, gen):
    ids = torch.randint(1, cfg.vocab, (cfg.batch, cfg.max_tokens), generator=gen)
    lengths = torch.randint(6, cfg.max_tokens + 1, (cfg.batch,), generator=gen)
    ids[torch.arange(cfg.max_tokens)[None, :] >= lengths[:, None]] = cfg.pad_id
    happy = (ids > cfg.vocab // 2).sum(1)
    return ids, (happy * 2 > lengths).long()


cfg = Cfg()
torch.manual_seed(3)
gen = torch.Generator().manual_seed(4)
device = "cuda" if torch.cuda.is_available() else "cpu"
model = ReviewEncoder(cfg).to(device)
opt = torch.optim.Adam(model.parameters(), lr=3e-3)
model.train()
for step in range(cfg.steps):
    ids, y = (t.to(device) for t in make_batch(cfg, gen))
    loss = F.cross_entropy(model(ids), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 10 == 9:
        print(step + 1, round(loss.item(), 4))

model.eval()
with torch.no_grad():
    ids, y = (t.to(device) for t in make_batch(cfg, gen))
    print("held-out acc", (model(ids).argmax(-1) == y).float().mean().item())
