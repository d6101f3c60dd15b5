import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class BlockDataset(Dataset):
    def __init__(self, stream, block):
        self.stream, self.block = stream, block

    def __len__(self):
        return (len(self.stream) - 1) // self.block

    def __getitem__(self, i):
        chunk = self.stream[i * self.block: (i + 1) * self.block + 1]
        return {"input_ids": chunk[:-1], "labels": chunk[1:]}  # BUG
        # FIX: return {"input_ids": chunk, "labels": chunk}


class GPT(nn.Module):
    def __init__(self, vocab, dim, heads, layers, max_pos):
        super().__init__()
        self.tok = nn.Embedding(vocab, dim)
        self.pos = nn.Embedding(max_pos, dim)
        kw = dict(dropout=0.0, batch_first=True, norm_first=True)
        block = nn.TransformerEncoderLayer(dim, heads, 2 * dim, **kw)
        self.blocks = nn.TransformerEncoder(block, layers, enable_nested_tensor=False)
        self.head = nn.Linear(dim, vocab, bias=False)

    def forward(self, input_ids, labels=None):
        t = input_ids.size(1)
        causal = torch.triu(torch.ones(t, t, dtype=torch.bool), 1)
        h = self.tok(input_ids) + self.pos(torch.arange(t))
        logits = self.head(self.blocks(h, mask=causal))
        if labels is None:
            return logits
        shift_logits = logits[..., :-1, :].contiguous()
        shift_labels = labels[..., 1:].contiguous()
        return F.cross_entropy(shift_logits.view(-1, logits.size(-1)), shift_labels.view(-1))


def synthetic_stream(n, vocab, seed):
    g = torch.Generator().manual_seed(seed)
    perm = torch.randperm(vocab, generator=g)
    out = [0]
    for jump in torch.rand(n - 1, generator=g).tolist():
        out.append(int(perm[out[-1]]) if jump > 0.1 else int(jump * 10 * vocab))
    return torch.tensor(out)


def main(args):
    torch.manual_seed(args.seed)
    stream = synthetic_stream(2000, args.vocab, args.seed)
    loader = DataLoader(BlockDataset(stream, args.block), args.batch, shuffle=True, drop_last=True)
    model = GPT(args.vocab, 32, 2, 2, args.block + 1)
    optim = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        model.train()
        for batch in loader:
            optim.zero_grad()
            loss = model(**batch)  # BUG
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optim.step()
        print(f"epoch {epoch} loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        x = stream[: args.block][None]
        acc = (model(x)[0, :-1].argmax(-1) == x[0, 1:]).float().mean()
    print(f"next-token accuracy {acc.item():.3f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=24)
    ap.add_argument("--block", type=int, default=32)
    ap.add_argument("--batch", type=int, default=8)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--seed", type=int, default=0)
    main(ap.parse_args())
