"""SWA training of a small convnet."""
import argparse

import torch
import torch.nn as nn
from torch.optim.swa_utils import SWALR, AveragedModel
# FIX+: from torch.optim.swa_utils import update_bn
from torch.utils.data import DataLoader, TensorDataset


class ConvNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.fc = nn.Linear(32, classes)

    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))


class SWATrainer:
    def __init__(self, args, train_loader, val_loader):
        self.args, self.train_loader, self.val_loader = args, train_loader, val_loader
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = ConvNet(4).to(self.device)
        self.averaged = AveragedModel(self.model)
        self.opt = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.swa_sched = SWALR(self.opt, swa_lr=0.05, anneal_epochs=1)

    def train_epoch(self):
        self.model.train()
        for x, y in self.train_loader:
            x, y = x.to(self.device), y.to(self.device)
            loss = nn.functional.cross_entropy(self.model(x), y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()

    @torch.no_grad()
    def accuracy(self, net):
        net.eval()
        good = sum((net(x.to(self.device)).argmax(1) == y.to(self.device)).sum() for x, y in self.val_loader)
        return good.item() / len(self.val_loader.dataset)

    def run(self):
        for epoch in range(self.args.epochs):
            self.train_epoch()
            if epoch >= self.args.swa_start:
                self.averaged.update_parameters(self.model)
                self.swa_sched.step()
        # FIX+: update_bn(self.train_loader, self.averaged, device=self.device)
        print("plain", self.accuracy(self.model), "swa", self.accuracy(self.averaged))  # BUG


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--swa-start", type=int, default=2)
    args = p.parse_args()
    torch.manual_seed(0)
    y = torch.randint(4, (256,))
    x = 3 * torch.randn(4, 3, 1, 1)[y] + torch.randn(256, 3, 16, 16)
    train = DataLoader(TensorDataset(x[:192], y[:192]), batch_size=32, shuffle=True)
    val = DataLoader(TensorDataset(x[192:], y[192:]), batch_size=64)
    SWATrainer(args, train, val).run()


if __name__ == "__main__":
    main()
