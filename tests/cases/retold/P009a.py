"""Filter a noisy corpus by length and language score, then train a tiny bag-of-words model."""
import argparse
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset


@dataclass
class Doc:
    ids: list
    score: float
    label: int


def synth_corpus(n, vocab, seed):
    g = torch.Generator().manual_seed(seed)
    docs = []
    for _ in range(n):
        length = int(torch.randint(2, 30, (1,), generator=g))
        label = int(torch.randint(0, 2, (1,), generator=g))
        score = float(torch.rand(1, generator=g))
        ids = torch.randint(0, vocab // 2, (length,), generator=g) + label * (vocab // 4)
        docs.append(Doc(ids.tolist(), score, label))
    return docs


class CorpusFilter:
    def __init__(self, min_len, max_len, min_score):
        self.min_len, self.max_len, self.min_score = min_len, max_len, min_score

    def _length_ok(self, docs):
        return [self.min_len <= len(d.ids) <= self.max_len for d in docs]

    def _language_ok(self, docs):
        return [d.score >= self.min_score for d in docs]

    def keep_indices(self, docs):
        keep = self._length_ok(docs) and self._language_ok(docs)  # BUG
        # FIX: keep = [a and b for a, b in zip(self._length_ok(docs), self._language_ok(docs))]
        return [i for i, flag in enumerate(keep) if flag]


class BowDataset(Dataset):
    def __init__(self, docs, vocab):
        self.docs, self.vocab = docs, vocab

    def __len__(self):
        return len(self.docs)

    def __getitem__(self, i):
        doc = self.docs[i]
        counts = torch.bincount(torch.tensor(doc.ids), minlength=self.vocab).float()
        return counts / counts.sum(), doc.label


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=40)
    ap.add_argument("--min-len", type=int, default=5)
    ap.add_argument("--max-len", type=int, default=25)
    ap.add_argument("--min-score", type=float, default=0.3)
    ap.add_argument("--epochs", type=int, default=5)
    args = ap.parse_args()
    torch.manual_seed(0)

    docs = synth_corpus(300, args.vocab, 0)
    chosen = CorpusFilter(args.min_len, args.max_len, args.min_score).keep_indices(docs)
    print(f"kept {len(chosen)} of {len(docs)} documents")
    loader = DataLoader(Subset(BowDataset(docs, args.vocab), chosen), batch_size=32, shuffle=True)

    model = nn.Linear(args.vocab, 2)
    opt = torch.optim.Adam(model.parameters(), lr=0.1)
    model.train()
    for epoch in range(args.epochs):
        total = 0.0
        for x, y in loader:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item() * len(y)
        print(epoch, total / len(chosen))


if __name__ == "__main__":
    main()
