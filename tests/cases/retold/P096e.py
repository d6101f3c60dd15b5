"""Fine-tune a small pretrained conv net on 28x28 glyphs."""
import argparse
from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class SmallNet(nn.Module):
    default_cfg = {"input_size": (3, 32, 32), "mean": 0.5, "std": 0.5}

    def __init__(self, num_classes):
        super().__init__()
        layers, width = [], 3
        for out in (8, 16, 32):
            conv = nn.Conv2d(width, out, 3, 2, 1, bias=False)
            layers += [conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            width = out
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(width, num_classes)

    def reset_classifier(self, num_classes):
        self.fc = nn.Linear(self.fc.in_features, num_classes)

    def forward(self, x):
        return self.fc(self.pool(self.features(x)).flatten(1))


def preprocess(image, size, mean, std):
    """(C, H, W) in [0, 1] -> normalised (3, size, size)."""
    image = F.interpolate(image[None], size=(size, size), mode="bilinear", align_corners=False)[0]
    return (image.expand(3, -1, -1) - mean) / std


class Glyphs(Dataset):
    """Bars of random position; the class is direction and width."""

    def __init__(self, n, classes, side, transform, seed):
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(classes, (n,), generator=g)
        self.images = 0.3 * torch.rand(n, 1, side, side, generator=g)
        for image, y in zip(self.images, self.labels.tolist()):
            at = int(torch.randint(4, side - 10, (1,), generator=g))
            stripe = slice(at, at + 2 + 4 * (y // 2))
            if y % 2:
                image[:, stripe, :] += 0.6
            else:
                image[:, :, stripe] += 0.6
        self.transform = transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.transform(self.images[i]), self.labels[i]


def train(model, loader, epochs, lr):
    opt = torch.optim.AdamW(model.parameters(), lr=lr)
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            opt.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
        print(f"  epoch {epoch} last loss {loss.item():.3f}")


@torch.no_grad()
def test(model, loader):
    model.eval()
    return sum((model(x).argmax(1) == y).sum().item() for x, y in loader) / len(loader.dataset)


def load_pretrained(classes=4):
    cfg = SmallNet.default_cfg
    tf = partial(preprocess, size=cfg["input_size"][-1], mean=cfg["mean"], std=cfg["std"])
    model = SmallNet(classes)
    train(model, DataLoader(Glyphs(256, classes, 32, tf, seed=1), batch_size=32, shuffle=True), 2, 3e-3)
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--img-size", type=int, default=256)  # BUG
    # FIX: parser.add_argument("--img-size", type=int, default=SmallNet.default_cfg["input_size"][-1])
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--lr", type=float, default=3e-3)
    args = parser.parse_args()
    torch.manual_seed(0)

    model = load_pretrained()
    model.reset_classifier(2)
    cfg = model.default_cfg
    tf = partial(preprocess, size=args.img_size, mean=cfg["mean"], std=cfg["std"])  # BUG
    train_set, test_set = Glyphs(96, 2, 28, tf, seed=2), Glyphs(32, 2, 28, tf, seed=3)
    train(model, DataLoader(train_set, batch_size=args.batch_size, shuffle=True), 2, args.lr)
    print(f"test accuracy {test(model, DataLoader(test_set, batch_size=args.batch_size)):.3f}")


if __name__ == "__main__":
    main()
