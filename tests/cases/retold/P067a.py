"""Small image classifier with a cosine schedule updated every iteration."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class SmallConvNet(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


class Trainer:
    def __init__(self, args, model, loader):
        self.args = args
        self.model = model
        self.loader = loader
        self.optim = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-4)
        self.lr_policy = torch.optim.lr_scheduler.CosineAnnealingLR(self.optim, T_max=args.epochs * len(loader))

    def adjust_lr(self):
        self.lr_policy.step()

    def update(self, loss):
        self.optim.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.args.clip)
        self.optim.step()

    def run_epoch(self, epoch):
        self.model.train()
        seen, running = 0, 0.0
        for images, labels in self.loader:
            self.adjust_lr()  # BUG
            # FIX:
            loss = F.cross_entropy(self.model(images), labels)
            self.update(loss)
            # FIX+: self.adjust_lr()
            running += loss.item() * labels.size(0)
            seen += labels.size(0)
        print(f"epoch {epoch} loss {running / seen:.4f} lr {self.lr_policy.get_last_lr()[0]:.5f}")


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("--lr", type=float, default=0.05)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--batch-size", type=int, default=16)
    p.add_argument("--clip", type=float, default=5.0)
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


def main():
    args = parse_args()
    torch.manual_seed(args.seed)
    labels = torch.randint(0, 4, (96,))
    images = torch.randn(96, 3, 16, 16) * 0.5 + labels.float().view(-1, 1, 1, 1) * 0.3
    loader = DataLoader(TensorDataset(images, labels), batch_size=args.batch_size, shuffle=True, drop_last=True)
    trainer = Trainer(args, SmallConvNet(4), loader)
    for epoch in range(args.epochs):
        trainer.run_epoch(epoch)


if __name__ == "__main__":
    main()
