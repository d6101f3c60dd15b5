import argparse
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset


class Blobs(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.y = torch.randint(4, (n,), generator=g)
        self.x = 0.6 * torch.randn(n, 3, 16, 16, generator=g)
        for i, c in enumerate(self.y.tolist()):
            self.x[i, c % 3, (c // 2) * 8:(c // 2) * 8 + 8] += 1

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class ConvNet(nn.Module):
    def __init__(self, width, n_classes):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1), nn.GroupNorm(2, width), nn.ReLU(),
                                      nn.Conv2d(width, width, 3, 2, 1), nn.ReLU())
        self.classifier = nn.Linear(width * 16, n_classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Trainer:
    def __init__(self, args):
        self.args = args
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = ConvNet(args.width, 4).to(self.device)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=args.lr, momentum=0.9)
        self.accum = args.gradient_accumulation_steps

    def training_step(self, x, y):
        loss = self.criterion(self.model(x.to(self.device)), y.to(self.device))
        loss.backward()  # BUG
        # FIX: (loss / self.accum).backward()
        return loss.detach()

    def train_epoch(self, loader):
        self.model.train()
        self.optimizer.zero_grad()
        running = 0.0
        for i, (x, y) in enumerate(loader):
            running += self.training_step(x, y)
            if (i + 1) % self.accum == 0:
                self.optimizer.step()
                self.optimizer.zero_grad()
        return (running / len(loader)).item()

    @torch.no_grad()
    def test(self, loader):
        self.model.eval()
        good = [(self.model(x.to(self.device)).argmax(1).cpu() == y) for x, y in loader]
        return torch.cat(good).float().mean().item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--batch_size", type=int, default=8)
    parser.add_argument("--gradient_accumulation_steps", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    trainer = Trainer(args)
    train_loader = DataLoader(Blobs(128, 0), args.batch_size, shuffle=True, drop_last=True)
    test_loader = DataLoader(Blobs(64, 1), args.batch_size)
    for epoch in range(args.epochs):
        loss = trainer.train_epoch(train_loader)
        print(f"epoch {epoch} loss {loss:.4f} acc {trainer.test(test_loader):.3f}")
