"""Speech-translation style decoder layer stack with an attention registry."""
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F


class DecoderConfig:
    def __init__(self, **kw):
        self.vocab_size = 50
        self.d_model = 32
        self.n_heads = 4
        self.n_layers = 2
        self.attention_dropout = 0.1
        self.dropout = 0.1
        self.max_positions = 32
        self.__dict__.update(kw)


ATTN_BACKENDS = {"sdpa": F.scaled_dot_product_attention}


class SelfAttention(nn.Module):
    def __init__(self, config, backend="sdpa"):
        super().__init__()
        self.n_heads = config.n_heads
        self.in_proj = nn.Linear(config.d_model, 3 * config.d_model)
        self.out_proj = nn.Linear(config.d_model, config.d_model)
        self.p = config.attention_dropout
        self.kernel = partial(ATTN_BACKENDS[backend], dropout_p=self.p, is_causal=True)  # BUG
        # FIX: self.kernel = partial(ATTN_BACKENDS[backend], is_causal=True)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (z.view(b, t, self.n_heads, -1).transpose(1, 2) for z in self.in_proj(x).chunk(3, -1))
        ctx = self.kernel(q, k, v)  # BUG
        # FIX: ctx = self.kernel(q, k, v, dropout_p=self.p if self.training else 0.0)
        return self.out_proj(ctx.transpose(1, 2).reshape(b, t, d))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attn = SelfAttention(config)
        self.ln_1, self.ln_2 = nn.LayerNorm(config.d_model), nn.LayerNorm(config.d_model)
        self.ff = nn.Sequential(nn.Linear(config.d_model, 64), nn.GELU(), nn.Linear(64, config.d_model))
        self.p = config.dropout

    def forward(self, x):
        x = x + F.dropout(self.attn(self.ln_1(x)), self.p, self.training)
        return x + F.dropout(self.ff(self.ln_2(x)), self.p, self.training)


class DecoderLM(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.tok = nn.Embedding(config.vocab_size, config.d_model)
        self.pos = nn.Parameter(torch.zeros(config.max_positions, config.d_model))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)

    def forward(self, ids):
        x = self.tok(ids) + self.pos[: ids.size(1)]
        for blk in self.blocks:
            x = blk(x)
        return self.head(self.norm(x))


def sample_units(n, t=20, vocab=50):
    start = torch.randint(vocab, (n, 1))
    stride = torch.randint(1, 4, (n, 1))
    return (start + stride * torch.arange(t)) % vocab


def main():
    torch.manual_seed(0)
    cfg = DecoderConfig()
    model = DecoderLM(cfg)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for step in range(30):
        ids = sample_units(32)
        logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, cfg.vocab_size), ids[:, 1:].reshape(-1))
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("train loss", round(loss.item(), 3))
    model.eval()
    held_out = sample_units(64)
    with torch.no_grad():
        for attempt in range(2):
            logits = model(held_out[:, :-1])
            nll = F.cross_entropy(logits.flatten(0, 1), held_out[:, 1:].flatten())
            print(f"held-out perplexity {nll.exp().item():.4f}")


if __name__ == "__main__":
    main()
