import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset


class EfficientLike(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self._stem = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(8)
        self._conv = nn.Conv2d(8, 16, 3, 2, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(16)
        self._act = nn.SiLU()
        self._fc = nn.Linear(16, n_classes)

    def forward(self, x):
        x = self._act(self._bn0(self._stem(x)))
        x = self._act(self._bn1(self._conv(x)))
        return self._fc(x.mean((2, 3)))


def freeze(model):
    """Freeze the pretrained weights; normalisation adapts to the new domain."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            continue
        for p in module.parameters(recurse=False):  # BUG
            p.requires_grad = False  # BUG
            # FIX: p.requires_grad = module is model._fc


class Trainer:
    def __init__(self, args):
        self.args = args
        self.model = EfficientLike(args.n_classes)
        freeze(self.model)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model._fc.parameters(), lr=args.lr)  # BUG
        # FIX: trainable = [p for p in self.model.parameters() if p.requires_grad]
        # FIX: self.optimizer = torch.optim.Adam(trainable, lr=args.lr)

    def epoch(self, loader):
        self.model.train()
        total = 0.0
        for img, label in loader:
            self.model.zero_grad()
            loss = self.criterion(self.model(img), label)
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(label)
        return total / len(loader.dataset)

    @torch.no_grad()
    def test(self, img, label):
        self.model.eval()
        return (self.model(img).argmax(1) == label).float().mean().item()


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--n_classes", type=int, default=3)
    ap.add_argument("--lr", type=float, default=1e-2)
    ap.add_argument("--epochs", type=int, default=5)
    args = ap.parse_args()
    torch.manual_seed(0)
    label = torch.randint(args.n_classes, (160,))
    img = 0.3 * torch.randn(160, 3, 16, 16)
    img[torch.arange(160), label] += 1.0
    trainer = Trainer(args)
    loader = DataLoader(TensorDataset(img[:128], label[:128]), 32, shuffle=True)
    for ep in range(args.epochs):
        print(f"epoch {ep} loss {trainer.epoch(loader):.3f} acc {trainer.test(img[128:], label[128:]):.3f}")
