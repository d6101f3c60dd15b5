"""Frame-wise voice activity detection with an LSTM."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class VADClips(Dataset):
    """Clips of equal length; features (frames, bands), labels (frames,)."""

    def __init__(self, n, frames, bands, seed):
        g = torch.Generator().manual_seed(seed)
        self.items = []
        for _ in range(n):
            start = int(torch.randint(0, frames - 8, (1,), generator=g))
            label = torch.zeros(frames, dtype=torch.long)
            label[start:start + 8] = 1
            feats = torch.randn(frames, bands, generator=g) + label[:, None] * 0.8
            self.items.append((feats, label))

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


class Batcher:
    def __init__(self, join=torch.cat):  # BUG
    # FIX: def __init__(self, join=torch.stack):
        self.join = join

    def __call__(self, samples):
        feats, labels = zip(*samples)
        return self.join(feats), self.join(labels)


class VAD(nn.Module):
    def __init__(self, bands, hidden):
        super().__init__()
        self.lstm = nn.LSTM(bands, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 2)

    def forward(self, feats):
        states, _ = self.lstm(feats)
        return self.head(states)


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = VAD(args.bands, args.hidden)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=args.lr)

    def loss(self, feats, labels):
        logits = self.model(feats)
        return nn.functional.cross_entropy(logits.reshape(-1, 2), labels.reshape(-1))

    def fit(self, loader):
        for epoch in range(self.args.epochs):
            self.model.train()
            for feats, labels in loader:
                self.opt.zero_grad()
                loss = self.loss(feats, labels)
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.opt.step()
            print(epoch, loss.item())

    @torch.no_grad()
    def frame_accuracy(self, clips):
        self.model.eval()
        acc = [(self.model(f[None]).argmax(-1)[0] == y).float().mean() for f, y in clips]
        return torch.stack(acc).mean().item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--bands", type=int, default=8)
    ap.add_argument("--frames", type=int, default=24)
    ap.add_argument("--hidden", type=int, default=16)
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--lr", type=float, default=1e-2)
    args = ap.parse_args()
    torch.manual_seed(0)
    trainer = Trainer(args)
    train = VADClips(96, args.frames, args.bands, 0)
    trainer.fit(DataLoader(train, batch_size=8, shuffle=True, collate_fn=Batcher()))
    print("frame accuracy", trainer.frame_accuracy(VADClips(32, args.frames, args.bands, 1)))


if __name__ == "__main__":
    main()
