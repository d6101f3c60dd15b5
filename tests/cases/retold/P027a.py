"""Decoder-only model that continues counting sequences; batched greedy generation."""
import argparse

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

PAD, VOCAB = 0, 21


def sequence(length):
    start, step = int(torch.randint(0, 20, (1,))), int(torch.randint(1, 4, (1,)))
    return (start + step * torch.arange(length)) % 20 + 1


class Decoder(nn.Module):
    def __init__(self, dim, heads, ctx):
        super().__init__()
        self.heads = heads
        self.tok = nn.Embedding(VOCAB, dim, padding_idx=PAD)
        self.pos = nn.Embedding(ctx, dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        up, down = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.ff = nn.Sequential(nn.LayerNorm(dim), up, nn.GELU(), down)
        self.ln, self.out = nn.LayerNorm(dim), nn.Linear(dim, VOCAB)

    def forward(self, ids, keep):
        B, T = ids.shape
        position = (keep.long().cumsum(1) - 1).clamp(min=0)
        x = self.tok(ids) + self.pos(position)
        q, k, v = self.qkv(self.ln(x)).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        causal = torch.ones(T, T, dtype=torch.bool).tril()
        allowed = (causal & keep[:, None, :]) | torch.eye(T, dtype=torch.bool)
        att = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed[:, None])
        x = x + self.proj(att.transpose(1, 2).reshape(B, T, -1))
        return self.out(x + self.ff(x))


class Generator:
    def __init__(self, model, max_new):
        self.model, self.max_new = model, max_new
        self.side = "right"  # BUG
        # FIX: self.side = "left"

    @torch.no_grad()
    def __call__(self, prompts):
        self.model.eval()
        ids = pad_sequence(prompts, batch_first=True, padding_value=PAD, padding_side=self.side)
        keep = ids != PAD
        new = []
        for _ in range(self.max_new):
            nxt = self.model(ids, keep)[:, -1, 1:].argmax(-1, keepdim=True) + 1
            new.append(nxt)
            ids = torch.cat([ids, nxt], dim=1)
            keep = torch.cat([keep, torch.ones_like(nxt, dtype=torch.bool)], dim=1)
        return torch.cat(new, dim=1)


def train(model, args):
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr)
    model.train()
    for step in range(args.steps):
        rows = [sequence(int(torch.randint(6, 13, (1,)))) for _ in range(32)]
        ids = pad_sequence(rows, batch_first=True, padding_value=PAD)
        logits = model(ids[:, :-1], ids[:, :-1] != PAD)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 40 == 0:
            print(step, loss.item())


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--dim", type=int, default=32)
    ap.add_argument("--lr", type=float, default=5e-3)
    ap.add_argument("--steps", type=int, default=120)
    args = ap.parse_args()
    torch.manual_seed(0)
    model = Decoder(args.dim, 2, ctx=16)
    train(model, args)
    full = [sequence(n) for n in (7, 8, 9, 10, 11, 12) for _ in range(8)]
    made = Generator(model, max_new=3)([s[:-3] for s in full])
    gold = torch.stack([s[-3:] for s in full])
    print("continuation accuracy", (made == gold).float().mean().item())


if __name__ == "__main__":
    main()
