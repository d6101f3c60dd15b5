import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F

PAD, BOS, EOS = 0, 1, 2
VOCAB = 30


def collate(seqs, side="right"):
    width = max(len(s) for s in seqs)
    ids = torch.full((len(seqs), width), PAD)
    mask = torch.zeros(len(seqs), width, dtype=torch.long)
    for row, s in enumerate(seqs):
        where = slice(0, len(s)) if side == "right" else slice(width - len(s), width)
        ids[row, where] = torch.tensor(s)
        mask[row, where] = 1
    return ids, mask


class TinyGPT(nn.Module):
    def __init__(self, d=32, heads=2, max_len=64):
        super().__init__()
        self.heads = heads
        self.tok = nn.Embedding(VOCAB, d)
        self.pos = nn.Embedding(max_len, d)
        self.qkv = nn.Linear(d, 3 * d)
        self.proj = nn.Linear(d, d)
        self.ln1, self.ln2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.lm_head = nn.Linear(d, VOCAB, bias=False)

    def forward(self, ids, mask):
        B, T = ids.shape
        position_ids = (mask.cumsum(-1) - 1).clamp(min=0)
        x = self.tok(ids) + self.pos(position_ids)
        causal = torch.ones(T, T, dtype=torch.bool).tril()
        allowed = causal[None, None] & mask[:, None, None, :].bool()
        allowed = allowed | torch.eye(T, dtype=torch.bool)      # pad rows see themselves
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        x = x + self.proj(a.transpose(1, 2).reshape(B, T, -1))
        x = x + self.mlp(self.ln2(x))
        return self.lm_head(x)


@torch.no_grad()
def complete(model, prompts, n_new):
    model.eval()
    ids, mask = collate(prompts)  # BUG
    # FIX: ids, mask = collate(prompts, side="left")
    start = ids.shape[1]
    for _ in range(n_new):
        nxt = model(ids, mask)[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat([ids, nxt], dim=1)
        mask = torch.cat([mask, torch.ones_like(nxt)], dim=1)
    return ids[:, start:]


def counting_sentence(g):
    a = int(torch.randint(3, 15, (1,), generator=g))
    n = int(torch.randint(4, 12, (1,), generator=g))
    return [BOS] + list(range(a, a + n)) + [EOS]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=120)
    p.add_argument("--bs", type=int, default=32)
    p.add_argument("--lr", type=float, default=3e-3)
    args = p.parse_args()
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(1)
    model = TinyGPT()
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr)
    model.train()
    for step in range(args.steps):
        ids, mask = collate([counting_sentence(g) for _ in range(args.bs)])
        labels = ids.masked_fill(mask == 0, -100)[:, 1:]
        logits = model(ids, mask)[:, :-1]
        loss = F.cross_entropy(logits.reshape(-1, VOCAB), labels.reshape(-1), ignore_index=-100)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"train loss {loss.item():.3f}")
    prompts = [[BOS, 4, 5], [BOS, 6, 7, 8, 9, 10], [BOS, 11, 12, 13]]
    for pr, out in zip(prompts, complete(model, prompts, 3).tolist()):
        print(pr, "->", out)


if __name__ == "__main__":
    main()
