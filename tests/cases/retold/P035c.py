"""Tiny BiLSTM named-entity tagger."""
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

WORD_PAD = 0
TAGS = ["O", "B-PER", "I-PER", "B-LOC"]
TAG_FILL = 0  # BUG
# FIX: TAG_FILL = -100


class Sentences(Dataset):
    def __init__(self, count, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(count):
            n = int(torch.randint(4, 12, (1,), generator=g))
            words = torch.randint(1, 80, (n,), generator=g)
            tags = torch.zeros(n, dtype=torch.long)
            tags[words >= 60] = TAGS.index("B-PER")
            tags[(words >= 55) & (words < 60)] = TAGS.index("I-PER")
            tags[(words >= 45) & (words < 55)] = TAGS.index("B-LOC")
            self.items.append((words, tags))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(rows):
    words, tags = zip(*rows)
    lengths = torch.tensor([len(w) for w in words])
    return (
        pad_sequence(words, batch_first=True, padding_value=WORD_PAD),
        pad_sequence(tags, batch_first=True, padding_value=TAG_FILL),
        lengths,
    )


class Tagger(nn.Module):
    def __init__(self, vocab=80, dim=24):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=WORD_PAD)
        self.lstm = nn.LSTM(dim, dim, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(2 * dim, len(TAGS))

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.emb(words), lengths, batch_first=True, enforce_sorted=False)
        h, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return F.log_softmax(self.out(self.drop(h)), dim=-1)


tag_loss = partial(F.nll_loss, ignore_index=TAG_FILL)  # BUG


def train_epoch(model, loader, opt):
    model.train()
    running = 0.0
    for words, tags, lengths in loader:
        opt.zero_grad()
        loss = tag_loss(model(words, lengths).transpose(1, 2), tags)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        opt.step()
        running += loss.item()
    return running / len(loader)


@torch.no_grad()
def token_accuracy(model, loader):
    model.eval()
    right = total = 0
    for words, tags, lengths in loader:
        guess = model(words, lengths).argmax(-1)
        real = torch.arange(words.size(1))[None] < lengths[:, None]
        right += (guess[real] == tags[real]).sum().item()
        total += int(real.sum())
    return right / total


if __name__ == "__main__":
    torch.manual_seed(1)
    train = DataLoader(Sentences(200, 0), batch_size=20, shuffle=True, collate_fn=collate)
    dev = DataLoader(Sentences(60, 1), batch_size=20, collate_fn=collate)
    model = Tagger()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(5):
        loss = train_epoch(model, train, opt)
        print(f"epoch {epoch} loss {loss:.4f} dev acc {token_accuracy(model, dev):.3f}")
