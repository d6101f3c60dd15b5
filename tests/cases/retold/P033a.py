import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class FERPlusLike(Dataset):
    """Faces with the votes of several annotators per emotion."""

    def __init__(self, n, n_classes, n_votes, seed):
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(n_classes, (n,), generator=g)
        proto = torch.randn(n_classes, 1, 12, 12, generator=torch.Generator().manual_seed(99))
        self.faces = proto[self.labels] + 0.5 * torch.randn(n, 1, 12, 12, generator=g)
        noise = torch.randint(n_classes, (n, n_votes), generator=g)
        keep = torch.rand(n, n_votes, generator=g) < 0.8
        votes = torch.where(keep, self.labels[:, None], noise)
        self.votes = F.one_hot(votes, n_classes).sum(1)

    def __len__(self):
        return len(self.faces)

    def __getitem__(self, i):
        votes = self.votes[i].float()
        target = votes  # BUG
        # FIX: target = votes / votes.sum()
        return self.faces[i], target, self.labels[i]


class EmotionNet(nn.Module):
    def __init__(self, n_classes):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.fc = nn.Linear(8 * 36, n_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return self.fc(x.flatten(1))


def train(args):
    torch.manual_seed(args.seed)
    model = EmotionNet(args.classes)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    train_set = FERPlusLike(128, args.classes, args.annotators, 0)
    test_set = FERPlusLike(64, args.classes, args.annotators, 1)
    loader = DataLoader(train_set, batch_size=32, shuffle=True)
    for epoch in range(args.epochs):
        model.train()
        for faces, target, _ in loader:
            optimizer.zero_grad()
            loss = criterion(model(faces), target)  # BUG
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            acc = sum((model(x).argmax(1) == y).sum().item() for x, _, y in DataLoader(test_set, 32))
        print(f"epoch {epoch}: loss {loss.item():.3f} acc {acc / len(test_set):.3f}")


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--classes", type=int, default=8)
    ap.add_argument("--annotators", type=int, default=10)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--epochs", type=int, default=3)
    ap.add_argument("--seed", type=int, default=0)
    train(ap.parse_args())
