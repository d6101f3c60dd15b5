"""Early stopping trainer; restores the best weights at the end."""
import argparse

import torch
import torch.nn as nn


class EarlyStopping:
    def __init__(self, patience):
        self.patience = patience
        self.best_loss = float("inf")
        self.best_weights = None
        self.bad_epochs = 0

    def step(self, loss, model):
        if loss < self.best_loss:
            self.best_loss = loss
            self.best_weights = {k: v.detach() for k, v in model.state_dict().items()}  # BUG
            # FIX: self.best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
            self.bad_epochs = 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


class Net(nn.Module):
    def __init__(self, in_dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(in_dim, hidden)
        self.bn = nn.BatchNorm1d(hidden)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, x):
        return self.fc2(torch.relu(self.bn(self.fc1(x)))).squeeze(1)


class Trainer:
    def __init__(self, model, lr, patience):
        self.model = model
        self.optim = torch.optim.Adam(model.parameters(), lr=lr)
        self.stopper = EarlyStopping(patience)
        self.criterion = nn.MSELoss()

    def train_epoch(self, x, y):
        self.model.train()
        for idx in torch.randperm(len(x)).split(32):
            self.optim.zero_grad()
            self.criterion(self.model(x[idx]), y[idx]).backward()
            self.optim.step()

    @torch.no_grad()
    def validate(self, x, y):
        self.model.eval()
        return self.criterion(self.model(x), y).item()

    def fit(self, train, val, epochs):
        for epoch in range(epochs):
            self.train_epoch(*train)
            if self.stopper.step(self.validate(*val), self.model):
                print("stopped at epoch", epoch)
                break
        self.model.load_state_dict(self.stopper.best_weights)
        print(f"best {self.stopper.best_loss:.4f} restored {self.validate(*val):.4f}")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--lr", type=float, default=2e-2)
    p.add_argument("--epochs", type=int, default=30)
    p.add_argument("--patience", type=int, default=4)
    a = p.parse_args()
    torch.manual_seed(0)
    x = torch.randn(192, 32)
    y = x[:, 0] + torch.randn(192)
    Trainer(Net(32, 64), a.lr, a.patience).fit((x[:128], y[:128]), (x[128:], y[128:]), a.epochs)
