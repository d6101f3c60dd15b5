"""Byte-level causal LM: train on short phrases, then complete several prompts in one batch."""
import argparse
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

PHRASES = ["the cat sat on the mat", "a dog ran", "birds fly south in winter", "we like tea", "rain falls"]


class ByteTokenizer:
    pad_id, eos_id = 0, 1

    def __init__(self, side="right"):
        self.side = side

    def __call__(self, texts, add_eos=False):
        rows = [[ord(c) for c in t] + ([self.eos_id] if add_eos else []) for t in texts]
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.pad_id)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            where = slice(0, len(row)) if self.side == "right" else slice(width - len(row), width)
            ids[i, where] = torch.tensor(row)
            mask[i, where] = 1
        return ids, mask

    def decode(self, ids):
        return "".join(chr(i) for i in ids.tolist() if i > 1)


class TinyGPT(nn.Module):
    def __init__(self, vocab=128, dim=48, heads=4, max_len=64):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, dim), nn.Embedding(max_len, dim)
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
        )
        self.lm_head = nn.Linear(dim, vocab)

    def forward(self, ids, mask):
        b, t = ids.shape
        pos = (mask.cumsum(-1) - 1).clamp(min=0)
        x = self.tok(ids) + self.pos(pos)
        q, k, v = self.qkv(self.norm(x)).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        allowed = torch.ones(t, t, dtype=torch.bool).tril() & mask.bool()[:, None, None, :]
        allowed = allowed | torch.eye(t, dtype=torch.bool)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        x = x + self.out(a.transpose(1, 2).reshape(b, t, -1))
        return self.lm_head(x + self.mlp(x))


@torch.no_grad()
def complete(model, tokenizer, prompts, n_new):
    model.eval()
    ids, mask = tokenizer(prompts)
    for _ in range(n_new):
        nxt = model(ids, mask)[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, nxt], dim=1)
        mask = torch.cat([mask, torch.ones_like(nxt)], dim=1)
    return [tokenizer.decode(row) for row in ids]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=150)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    torch.manual_seed(args.seed)
    random.seed(args.seed)

    model = TinyGPT()
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr)
    train_tok = ByteTokenizer(side="right")
    model.train()
    for step in range(args.steps):
        ids, mask = train_tok(random.sample(PHRASES, 4), add_eos=True)
        target = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
        logits = model(ids[:, :-1], mask[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"final loss {loss.item():.3f}")
    prompts = ["the cat", "a d", "birds fly so"]
    for text in complete(model, train_tok, prompts, n_new=6):  # BUG
    # FIX: for text in complete(model, ByteTokenizer(side="left"), prompts, n_new=6):
        print(repr(text))


if __name__ == "__main__":
    main()
