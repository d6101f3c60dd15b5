import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

ACTIVATIONS = {"none": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}
LOSSES = {"bce": nn.BCEWithLogitsLoss, "mse": nn.MSELoss}


def get_args():
    parser = argparse.ArgumentParser("multi-label ICD coding from lab values")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--loss", choices=LOSSES, default="bce")
    parser.add_argument("--head", choices=ACTIVATIONS, default="sigmoid")  # BUG
    # FIX: parser.add_argument("--head", choices=ACTIVATIONS, default="none")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threshold", type=float, default=0.5)
    return parser.parse_args()


class Coder(nn.Module):
    def __init__(self, n_in, n_out, hidden, head):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(n_in, hidden), nn.GELU(), nn.LayerNorm(hidden))
        self.gate = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, n_out)
        self.head = ACTIVATIONS[head]()

    def forward(self, x):
        h = self.body(x)
        h = h * torch.sigmoid(self.gate(h))
        return self.head(self.out(h))  # BUG


@torch.no_grad()
def micro_f1(model, loader, threshold):
    model.eval()
    tp = fp = fn = 0
    for x, y in loader:
        scores = model(x)
        # FIX+: scores = scores.sigmoid()
        pred = scores > threshold
        y = y.bool()
        tp += (pred & y).sum().item()
        fp += (pred & ~y).sum().item()
        fn += (~pred & y).sum().item()
    return 2 * tp / max(2 * tp + fp + fn, 1)


def main():
    args = get_args()
    torch.manual_seed(13)
    x = torch.randn(800, 30)
    y = (x @ torch.randn(30, 12) > 4.0).float()
    train, val = random_split(TensorDataset(x, y), [640, 160])
    train_loader = DataLoader(train, batch_size=40, shuffle=True)
    val_loader = DataLoader(val, batch_size=160)

    model = Coder(30, 12, args.hidden, args.head)
    criterion = LOSSES[args.loss]()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for epoch in range(args.epochs):
        model.train()
        for xb, yb in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(xb), yb)  # BUG
            loss.backward()
            optimizer.step()
        print(f"{epoch=} loss={loss.item():.4f} f1={micro_f1(model, val_loader, args.threshold):.3f}")


if __name__ == "__main__":
    main()
