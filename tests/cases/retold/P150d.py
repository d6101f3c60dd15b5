"""GPT-style decoder for symbolic music events, with depth-scaled residual projections."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class Config:
    vocab, ctx, dim, heads, depth = 64, 32, 48, 4, 4
    std = 0.02


def gpt_init(module):
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=Config.std)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


class Residual(nn.Module):
    """Pre-norm branch whose last projection starts small."""

    def __init__(self, dim, depth):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.build(dim)
        self.apply(gpt_init)
        nn.init.normal_(self.out.weight, std=Config.std / math.sqrt(2 * depth))

    def forward(self, x):
        return x + self.out(self.inner(self.norm(x)))


class Attention(Residual):
    def build(self, dim):
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def inner(self, x):
        q, k, v = (t.unflatten(-1, (Config.heads, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


class Mlp(Residual):
    def build(self, dim):
        self.fc = nn.Linear(dim, 4 * dim)
        self.out = nn.Linear(4 * dim, dim)

    def inner(self, x):
        return F.gelu(self.fc(x), approximate="tanh")


class MusicGPT(nn.Module):
    def __init__(self, cfg=Config):
        super().__init__()
        self.wte = nn.Embedding(cfg.vocab, cfg.dim)
        self.wpe = nn.Embedding(cfg.ctx, cfg.dim)
        blocks = []
        for _ in range(cfg.depth):
            blocks += [Attention(cfg.dim, cfg.depth), Mlp(cfg.dim, cfg.depth)]
        self.h = nn.Sequential(*blocks)
        self.ln_f = nn.LayerNorm(cfg.dim)
        self.head = nn.Linear(cfg.dim, cfg.vocab, bias=False)
        self.apply(gpt_init)  # BUG
        # FIX: for part in (self.wte, self.wpe, self.head):
        # FIX:     gpt_init(part)

    def forward(self, idx):
        pos = torch.arange(idx.shape[1], device=idx.device)
        return self.head(self.ln_f(self.h(self.wte(idx) + self.wpe(pos))))


def melodies(n, length):
    start = torch.randint(0, 64, (n, 1))
    step = torch.randint(1, 5, (n, 1))
    return (start + step * torch.arange(length)) % 64


torch.manual_seed(1337)
model = MusicGPT()
print("residual projection std", [round(b.out.weight.std().item(), 4) for b in model.h])
decay = [p for p in model.parameters() if p.ndim > 1]
rest = [p for p in model.parameters() if p.ndim <= 1]
groups = [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
opt = torch.optim.AdamW(groups, lr=3e-3, betas=(0.9, 0.95))
model.train()
for it in range(25):
    seq = melodies(32, 25)
    logits = model(seq[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), seq[:, 1:].flatten())
    opt.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    if it % 8 == 0:
        print(f"iter {it} loss {loss.item():.3f}")
