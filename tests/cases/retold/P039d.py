"""Character LM with a GPT-like block, HF-style `labels` argument."""
from types import SimpleNamespace

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class CharBlocks(Dataset):
    def __init__(self, text, block_size):
        self.itos = sorted(set(text))
        stoi = {c: k for k, c in enumerate(self.itos)}
        self.ids = torch.tensor([stoi[c] for c in text])
        self.block_size = block_size

    def __len__(self):
        return (len(self.ids) - 1) // self.block_size

    def __getitem__(self, i):
        start = i * self.block_size
        chunk = self.ids[start:start + self.block_size + 1]
        return {"input_ids": chunk[:-1], "labels": chunk[1:]}  # BUG
        # FIX: return {"input_ids": chunk[:-1], "labels": chunk[:-1]}


class CausalLM(nn.Module):
    def __init__(self, vocab, dim=48, heads=4, ctx=64):
        super().__init__()
        self.tok = nn.Embedding(vocab, dim)
        self.pos = nn.Embedding(ctx, dim)
        self.layer = nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.1, batch_first=True, norm_first=True)
        self.ln_f = nn.LayerNorm(dim)
        self.lm_head = nn.Linear(dim, vocab, bias=False)
        self.lm_head.weight = self.tok.weight  # tied
        nn.init.normal_(self.tok.weight, std=0.02)

    def forward(self, input_ids, labels=None):
        t = input_ids.shape[1]
        h = self.tok(input_ids) + self.pos(torch.arange(t, device=input_ids.device))
        causal = nn.Transformer.generate_square_subsequent_mask(t, device=h.device)
        logits = self.lm_head(self.ln_f(self.layer(h, src_mask=causal, is_causal=True)))
        loss = None
        if labels is not None:
            shift_logits = logits[..., :-1, :].contiguous()  # BUG
            shift_labels = labels[..., 1:].contiguous()  # BUG
            loss = F.cross_entropy(shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1))
        return SimpleNamespace(loss=loss, logits=logits)

    @torch.no_grad()
    def generate(self, ids, n):
        was_training = self.training
        self.eval()
        for _ in range(n):
            nxt = self(ids[:, -32:]).logits[:, -1].argmax(-1, keepdim=True)
            ids = torch.cat([ids, nxt], dim=1)
        self.train(was_training)
        return ids


def train():
    torch.manual_seed(42)
    ds = CharBlocks("the quick brown fox jumps over the lazy dog. " * 80, block_size=32)
    loader = DataLoader(ds, batch_size=16, shuffle=True)
    model = CausalLM(len(ds.itos))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for epoch in range(6):
        for batch in loader:
            out = model(**batch)
            optimizer.zero_grad()
            out.loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {out.loss.item():.3f}")
    ids = model.generate(ds.ids[None, :10], 20)
    print("".join(ds.itos[k] for k in ids[0].tolist()))


train()
