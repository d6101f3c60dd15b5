import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class NoisyDigits(Dataset):
    """In-memory images with photometric augmentation at train time."""

    def __init__(self, n, train=True, noise=0.1, flip_p=0.5):
        g = torch.Generator().manual_seed(3 if train else 4)
        self.labels = torch.randint(0, 4, (n,), generator=g)
        self.images = torch.rand(n, 1, 16, 16, generator=g) * 0.2
        for i, c in enumerate(self.labels.tolist()):
            self.images[i, :, 4 * c:4 * c + 4] += 0.8
        self.train = train
        self.noise = noise
        self.flip_p = flip_p

    def __len__(self):
        return len(self.labels)

    def _augment(self, img):
        gain = 0.8 + 0.4 * torch.rand(())
        img.mul_(gain)
        img += self.noise * torch.randn_like(img)
        img.clamp_(0, 1)
        if torch.rand(()) < self.flip_p:
            img = img.flip(-1)
        return img

    def __getitem__(self, i):
        img = self.images[i]  # BUG
        # FIX: img = self.images[i].clone()
        if self.train:
            img = self._augment(img)
        return img, self.labels[i]


class SmallCNN(nn.Module):
    def __init__(self, width=8, n_classes=4):
        super().__init__()
        self.conv1 = nn.Conv2d(1, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.fc = nn.Linear(2 * width * 64, n_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.relu(self.conv2(x))
        return self.fc(x.flatten(1))


@torch.no_grad()
def evaluate(model, loader):
    model.eval()
    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def main(args):
    torch.manual_seed(args.seed)
    train_loader = DataLoader(NoisyDigits(128), batch_size=32, shuffle=True)
    val_loader = DataLoader(NoisyDigits(64, train=False), batch_size=64)
    model = SmallCNN()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        model.train()
        for x, y in train_loader:
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        print(epoch, round(loss.item(), 4), evaluate(model, val_loader))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    main(parser.parse_args())
