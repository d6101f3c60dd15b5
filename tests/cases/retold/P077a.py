"""Small GPT with attention dropout."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F


class CausalAttention(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.n_head = cfg.n_head
        self.attn_pdrop = cfg.attn_pdrop
        self.c_attn = nn.Linear(cfg.n_embd, 3 * cfg.n_embd)
        self.c_proj = nn.Linear(cfg.n_embd, cfg.n_embd)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.n_head, C // self.n_head).transpose(1, 2)
                   for t in self.c_attn(x).split(C, dim=2))
        self.attn_pdrop = self.attn_pdrop if self.training else 0.0  # BUG
        # FIX: attn_pdrop = self.attn_pdrop if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.attn_pdrop, is_causal=True)  # BUG
        # FIX: y = F.scaled_dot_product_attention(q, k, v, dropout_p=attn_pdrop, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(cfg.n_embd), nn.LayerNorm(cfg.n_embd)
        self.attn = CausalAttention(cfg)
        self.mlp = nn.Sequential(nn.Linear(cfg.n_embd, 2 * cfg.n_embd), nn.GELU(),
                                 nn.Linear(2 * cfg.n_embd, cfg.n_embd), nn.Dropout(cfg.resid_pdrop))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.wte = nn.Embedding(cfg.vocab, cfg.n_embd)
        self.wpe = nn.Parameter(torch.zeros(1, cfg.block, cfg.n_embd))
        self.h = nn.ModuleList([Block(cfg) for _ in range(2)])
        self.head = nn.Linear(cfg.n_embd, cfg.vocab)

    def forward(self, idx):
        x = self.wte(idx) + self.wpe[:, :idx.size(1)]
        for blk in self.h:
            x = blk(x)
        return self.head(x)


def get_batch(cfg, n=16):
    start = torch.randint(0, cfg.vocab, (n, 1))
    seq = (start + 3 * torch.arange(cfg.block + 1)) % cfg.vocab
    return seq[:, :-1], seq[:, 1:]


def lm_loss(model, batch):
    x, y = batch
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--vocab", type=int, default=31)
    p.add_argument("--block", type=int, default=12)
    p.add_argument("--n_embd", type=int, default=32)
    p.add_argument("--n_head", type=int, default=4)
    p.add_argument("--attn_pdrop", type=float, default=0.1)
    p.add_argument("--resid_pdrop", type=float, default=0.1)
    cfg = p.parse_args()
    torch.manual_seed(0)
    model = GPT(cfg)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for it in range(30):
        if it % 10 == 0:
            model.eval()
            with torch.no_grad():
                print(it, "val", round(lm_loss(model, get_batch(cfg, 64)).item(), 4))
        model.train()
        loss = lm_loss(model, get_batch(cfg))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()


if __name__ == "__main__":
    main()
