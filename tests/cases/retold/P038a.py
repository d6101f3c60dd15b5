import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

IGNORE = -100


class InstructionDataset(Dataset):
    """prompt + response, loss on the response only, cut to max_len."""

    def __init__(self, n, vocab, max_len, seed):
        g = torch.Generator().manual_seed(seed)
        self.rows = []
        for i in range(n):
            p = int(torch.randint(4, 10, (1,), generator=g)) if i % 7 else 40
            r = int(torch.randint(3, 8, (1,), generator=g))
            ids = torch.randint(1, vocab, (p + r,), generator=g)
            labels = ids.clone()
            labels[:p] = IGNORE
            self.rows.append((ids[:max_len], labels[:max_len]))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def pad_batch(rows):
    ids, labels = zip(*rows)
    pad = nn.utils.rnn.pad_sequence
    return pad(ids, True, 0), pad(labels, True, IGNORE)


class TinyLM(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.head = nn.Linear(dim, vocab)

    def forward(self, ids):
        return self.head(self.gru(self.emb(ids))[0])


class SFTTrainer:
    def __init__(self, model, args):
        self.model, self.args = model, args
        self.opt = torch.optim.AdamW(model.parameters(), lr=args.lr)

    def compute_loss(self, ids, labels):
        logits = self.model(ids)[:, :-1]
        return F.cross_entropy(logits.transpose(1, 2), labels[:, 1:], ignore_index=IGNORE)  # BUG

    def train(self, loader):
        self.model.train()
        for step, (ids, labels) in enumerate(loader):
            # FIX+: if not (labels[:, 1:] != IGNORE).any():
            # FIX+:     continue
            loss = self.compute_loss(ids, labels)  # BUG
            self.opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), self.args.clip)
            self.opt.step()
            if step % 8 == 7:
                print(f"step {step} loss {loss.item():.3f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=50)
    ap.add_argument("--dim", type=int, default=32)
    ap.add_argument("--max_len", type=int, default=24)
    ap.add_argument("--micro_batch", type=int, default=1)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--clip", type=float, default=1.0)
    args = ap.parse_args()
    torch.manual_seed(0)
    data = InstructionDataset(32, args.vocab, args.max_len, 0)
    loader = DataLoader(data, args.micro_batch, shuffle=True, collate_fn=pad_batch)
    SFTTrainer(TinyLM(args.vocab, args.dim), args).train(loader)
