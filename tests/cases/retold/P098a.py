"""Image captions: pair feature rows with caption lines."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class PairedDataset(Dataset):
    def __init__(self, features, captions):
        self.pairs = list(map(lambda f, c: (f, c), features, captions))  # BUG
        # FIX: self.pairs = list(zip(features, captions, strict=True))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, i):
        return self.pairs[i]


def load_features(n, dim):
    return torch.randn(n, dim)


def load_captions(features, vocab, per_image):
    """per_image captions for every image, in the order of the images."""
    word = (features[:, 0] > 0).long() * (vocab // 2)
    word = word.repeat_interleave(per_image)
    return (word.unsqueeze(1) + torch.arange(5)) % vocab


class Matcher(nn.Module):
    def __init__(self, dim, vocab, width=24):
        super().__init__()
        self.image, self.text = nn.Linear(dim, width), nn.EmbeddingBag(vocab, width)

    def forward(self, f, c):
        return F.normalize(self.image(f), dim=-1) @ F.normalize(self.text(c), dim=-1).T


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--images", type=int, default=60)
    p.add_argument("--captions-per-image", type=int, default=2)
    p.add_argument("--vocab", type=int, default=20)
    args = p.parse_args()
    torch.manual_seed(0)
    features = load_features(args.images, 8)
    captions = load_captions(features, args.vocab, args.captions_per_image)
    ds = PairedDataset(features, captions)  # BUG
    # FIX: ds = PairedDataset(features.repeat_interleave(args.captions_per_image, dim=0), captions)
    model = Matcher(8, args.vocab)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for epoch in range(3):
        model.train()
        for f, c in DataLoader(ds, batch_size=12, shuffle=True):
            sim = model(f, c) / 0.1
            same = (c.unsqueeze(0) == c.unsqueeze(1)).all(-1).float()
            loss = F.cross_entropy(sim, same / same.sum(1, keepdim=True))
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} pairs {len(ds)} loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
