"""Multi-label tagging of audio clips with per-clip annotation confidence."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class ClipDataset(Dataset):
    def __init__(self, n_clips, n_tags, n_mels, seed):
        g = torch.Generator().manual_seed(seed)
        self.tags = (torch.rand(n_clips, n_tags, generator=g) < 0.3).float()
        proto = torch.randn(n_tags, n_mels, generator=g)
        frames = torch.randn(n_clips, 20, n_mels, generator=g)
        self.mel = frames + (self.tags @ proto)[:, None, :]
        self.confidence = 0.2 + 0.8 * torch.rand(n_clips, generator=g)

    def __len__(self):
        return len(self.mel)

    def __getitem__(self, i):
        return self.mel[i], self.tags[i], self.confidence[i]


class Tagger(nn.Module):
    def __init__(self, n_mels, n_tags):
        super().__init__()
        self.frame = nn.Sequential(nn.Linear(n_mels, 32), nn.ReLU())
        self.head = nn.Linear(32, n_tags)

    def forward(self, mel):
        return self.head(self.frame(mel).mean(dim=1))


class ConfidenceWeightedBCE(nn.Module):
    """BCE in which clips with unsure annotators count less."""

    def __init__(self):
        super().__init__()
        self.bce = nn.BCEWithLogitsLoss(reduction="none")

    def forward(self, logits, tags, confidence):
        per_entry = self.bce(logits, tags)
        weighted = per_entry.mul(confidence)  # BUG
        # FIX: weighted = per_entry.mul(confidence[:, None])
        return weighted.sum() / (confidence.sum() * tags.size(1))


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--tags", type=int, default=16)
    ap.add_argument("--batch-size", type=int, default=16)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    data = ClipDataset(128, args.tags, 24, 0)
    train, val = torch.utils.data.random_split(data, [96, 32])
    loader = DataLoader(train, batch_size=args.batch_size, shuffle=True, drop_last=True)
    model, criterion = Tagger(24, args.tags), ConfidenceWeightedBCE()
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(args.epochs):
        model.train()
        for mel, tags, conf in loader:
            opt.zero_grad()
            loss = criterion(model(mel), tags, conf)
            loss.backward()
            opt.step()
        model.eval()
        hits = 0.0
        with torch.no_grad():
            for mel, tags, _ in DataLoader(val, batch_size=args.batch_size):
                hits += ((model(mel) > 0).float() == tags).float().mean(1).sum().item()
        print(f"epoch {epoch} loss {loss.item():.4f} tag accuracy {hits / len(val):.3f}")


if __name__ == "__main__":
    main()
