import argparse
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

PAD_IDX = 0


class ReviewDataset(Dataset):
    """Token ids 1..V-1, label 0 = negative, 1 = neutral, 2 = positive."""

    def __init__(self, n, vocab, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(n):
            label = int(torch.randint(3, (1,), generator=g))
            length = int(torch.randint(4, 12, (1,), generator=g))
            ids = torch.randint(1, vocab, (length,), generator=g)
            ids[: length // 2] = 1 + label
            self.items.append((ids, label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def collate(batch):
    ids, labels = zip(*batch)
    return pad_sequence(ids, batch_first=True, padding_value=PAD_IDX), torch.tensor(labels)


class BoWClassifier(nn.Module):
    def __init__(self, vocab, dim, n_classes=3):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=PAD_IDX)
        self.out = nn.Linear(dim, n_classes)

    def forward(self, ids):
        mask = (ids != PAD_IDX).unsqueeze(-1)
        pooled = (self.emb(ids) * mask).sum(1) / mask.sum(1)
        return self.out(pooled)


class Trainer:
    def __init__(self, cfg):
        self.cfg = cfg
        self.model = BoWClassifier(cfg.vocab, cfg.dim)
        self.criterion = nn.CrossEntropyLoss(ignore_index=PAD_IDX)  # BUG
        # FIX: self.criterion = nn.CrossEntropyLoss()
        self.opt = torch.optim.Adam(self.model.parameters(), lr=cfg.lr)

    def fit(self, loader):
        for epoch in range(self.cfg.epochs):
            self.model.train()
            for ids, labels in loader:
                self.opt.zero_grad()
                loss = self.criterion(self.model(ids), labels)
                loss.backward()
                self.opt.step()
            print(f"epoch {epoch} loss {loss.item():.4f}")

    @torch.no_grad()
    def accuracy(self, loader):
        self.model.eval()
        hits = [(self.model(ids).argmax(1) == y) for ids, y in loader]
        return torch.cat(hits).float().mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=40)
    ap.add_argument("--dim", type=int, default=16)
    ap.add_argument("--lr", type=float, default=0.02)
    ap.add_argument("--epochs", type=int, default=5)
    cfg = ap.parse_args()
    torch.manual_seed(0)
    trainer = Trainer(cfg)
    trainer.fit(DataLoader(ReviewDataset(120, cfg.vocab, 0), 24, shuffle=True, collate_fn=collate))
    print("acc", trainer.accuracy(DataLoader(ReviewDataset(60, cfg.vocab, 1), 24, collate_fn=collate)))
