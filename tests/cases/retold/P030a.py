"""Sequence tagging with a bidirectional GRU and NLL loss."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

PAD_TAG = -1


class TaggedSentences(Dataset):
    def __init__(self, n, vocab, tags, seed):
        g = torch.Generator().manual_seed(seed)
        self.rows = []
        for _ in range(n):
            length = int(torch.randint(4, 13, (1,), generator=g))
            words = torch.randint(1, vocab, (length,), generator=g)
            self.rows.append((words, (words + words.roll(1)) % tags))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


def collate(rows):
    words, tags = zip(*rows)
    pad = nn.utils.rnn.pad_sequence
    return pad(words, batch_first=True), pad(tags, batch_first=True, padding_value=PAD_TAG)


class Tagger(nn.Module):
    def __init__(self, vocab, tags, dim=32):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.rnn = nn.GRU(dim, dim, batch_first=True, bidirectional=True)
        self.out = nn.Sequential(nn.Linear(2 * dim, tags), nn.Softmax(dim=-1))  # BUG
        # FIX: self.out = nn.Sequential(nn.Linear(2 * dim, tags), nn.LogSoftmax(dim=-1))

    def forward(self, words):
        lengths = (words != 0).sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            self.emb(words), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.out(states)


def epoch(model, loader, criterion, opt=None):
    model.train(opt is not None)
    total, count, right = 0.0, 0, 0
    with torch.set_grad_enabled(opt is not None):
        for words, tags in loader:
            out = model(words)
            loss = criterion(out.transpose(1, 2), tags)  # BUG
            if opt is not None:
                opt.zero_grad()
                loss.backward()
                opt.step()
            real = tags != PAD_TAG
            n = int(real.sum())
            total, count = total + loss.item() * n, count + n
            right += int((out.argmax(-1) == tags)[real].sum())
    return total / count, right / count


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=20)
    ap.add_argument("--tags", type=int, default=4)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    train = DataLoader(TaggedSentences(256, args.vocab, args.tags, 0), 16, shuffle=True, collate_fn=collate)
    test = DataLoader(TaggedSentences(64, args.vocab, args.tags, 1), 16, collate_fn=collate)
    model = Tagger(args.vocab, args.tags)
    criterion = nn.NLLLoss(ignore_index=PAD_TAG)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    for e in range(args.epochs):
        print(e, epoch(model, train, criterion, opt), epoch(model, test, criterion))


if __name__ == "__main__":
    main()
