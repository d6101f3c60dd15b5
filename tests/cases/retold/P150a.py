import argparse
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class CosineLinear(nn.Module):
    def __init__(self, n_in, n_out, device=None):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_out, n_in, device=device))
        self.scale = nn.Parameter(torch.empty((), device=device))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        nn.init.constant_(self.scale, 8.0)

    def forward(self, x):
        w = nn.functional.normalize(self.weight, dim=-1)
        return self.scale * nn.functional.linear(nn.functional.normalize(x, dim=-1), w)


class Net(nn.Module):
    def __init__(self, n_in, hidden, n_out):
        super().__init__()
        self.fc1 = nn.Linear(n_in, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.cls = CosineLinear(hidden, n_out)

    def forward(self, x):
        h = torch.relu(self.norm(self.fc1(x)))
        return self.cls(torch.relu(self.fc2(h)))


class Builder:
    """Builds large models without a first copy in host memory."""

    def __init__(self, device):
        self.device = device

    def materialize(self, factory):
        with torch.device("meta"):
            model = factory()
        model = model.to_empty(device=self.device)  # BUG
        # FIX+: for m in model.modules():
        # FIX+:     if hasattr(m, "reset_parameters"):
        # FIX+:         m.reset_parameters()
        return model


def train(model, loader, args, device):
    opt = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for epoch in range(args.epochs):
        model.train()
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--hidden", type=int, default=48)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.randn(192, 10)
    y = x[:, :5].argmax(1)
    loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    model = Builder(device).materialize(lambda: Net(10, args.hidden, 5))
    train(model, loader, args, device)
