"""Sentence-pair relevance model, padded batches."""
import argparse

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

PAD = 0


class Pairs(Dataset):
    def __init__(self, n, vocab, max_len):
        g = torch.Generator().manual_seed(0)
        self.items = []
        for _ in range(n):
            k = int(torch.randint(4, max_len, (1,), generator=g))
            ids = torch.randint(1, vocab, (k,), generator=g)
            self.items.append((ids, float((ids < vocab // 2).float().mean() > 0.5)))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Collator:
    def __init__(self, length):
        self.length = length

    def __call__(self, batch):
        ids = torch.full((len(batch), self.length), PAD)
        for row, (seq, _) in zip(ids, batch):
            row[:len(seq)] = seq
        label = torch.tensor([b[1] for b in batch])
        return {"input_ids": ids, "attention_mask": ids.ne(PAD), "label": label}


class Ranker(nn.Module):
    def __init__(self, vocab, dim, length):
        super().__init__()
        self.tok = nn.Embedding(vocab, dim, padding_idx=PAD)
        self.pos = nn.Parameter(0.02 * torch.randn(1, length, dim))
        self.attn = nn.MultiheadAttention(dim, 4, dropout=0.1, batch_first=True)
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, 1)

    def forward(self, input_ids, attention_mask):
        x = self.tok(input_ids) + self.pos
        y, _ = self.attn(x, x, x, key_padding_mask=attention_mask, need_weights=False)  # BUG
        # FIX: y, _ = self.attn(x, x, x, key_padding_mask=~attention_mask, need_weights=False)
        y = self.norm(x + y)
        keep = attention_mask.unsqueeze(-1).to(y.dtype)
        pooled = (y * keep).sum(1) / keep.sum(1)
        return self.out(pooled).squeeze(-1)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--max-len", type=int, default=20)
    ap.add_argument("--vocab", type=int, default=128)
    ap.add_argument("--epochs", type=int, default=2)
    args = ap.parse_args()
    torch.manual_seed(0)
    loader = DataLoader(Pairs(160, args.vocab, args.max_len), batch_size=32, shuffle=True,
                        collate_fn=Collator(args.max_len))
    model = Ranker(args.vocab, 32, args.max_len)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(args.epochs):
        model.train()
        for batch in loader:
            label = batch.pop("label")
            loss = nn.functional.binary_cross_entropy_with_logits(model(**batch), label)
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(epoch, f"{loss.item():.4f}")


if __name__ == "__main__":
    main()
