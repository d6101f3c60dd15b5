import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Gestures(Dataset):
    def __init__(self, n=160):
        g = torch.Generator().manual_seed(0)
        self.y = torch.randint(0, 4, (n,), generator=g)
        proto = torch.randn(4, 6, 20, generator=g)
        self.x = proto[self.y] + 0.5 * torch.randn(n, 6, 20, generator=g)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


class GestureNet(nn.Module):
    INITS = {"const": lambda w: nn.init.constant_(w, 0.05), "kaiming": nn.init.kaiming_normal_}

    def __init__(self, init="const"):  # BUG
    # FIX: def __init__(self, init="kaiming"):
        super().__init__()
        self.init_fn = self.INITS[init]
        self.conv = nn.Conv1d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 16, 32)
        self.fc2 = nn.Linear(32, 4)
        self.apply(self.reset)

    def reset(self, m):
        if isinstance(m, (nn.Conv1d, nn.Linear)):
            self.init_fn(m.weight)  # BUG
            nn.init.zeros_(m.bias)

    def forward(self, x):
        h = torch.relu(self.conv(x)).flatten(1)
        return self.fc2(torch.relu(self.fc1(h)))


class Trainer:
    def __init__(self, model, args):
        self.model, self.args = model, args
        self.loader = DataLoader(Gestures(), batch_size=args.batch_size, shuffle=True)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)

    def run(self):
        for epoch in range(self.args.epochs):
            self.model.train()
            total = 0.0
            for x, y in self.loader:
                self.optimizer.zero_grad()
                loss = nn.functional.cross_entropy(self.model(x), y)
                loss.backward()
                self.optimizer.step()
                total += loss.item() * len(y)
            print(f"epoch {epoch} loss {total / len(self.loader.dataset):.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    torch.manual_seed(0)
    Trainer(GestureNet(), args).run()
