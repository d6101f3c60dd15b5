import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--precision", default="bf16", choices=["bf16", "fp32"])
    p.add_argument("--lr", type=float, default=2e-5)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


class EncoderLayer(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.n1, self.n2 = nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x):
        h = self.n1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return x + self.ffn(self.n2(x))


class Classifier(nn.Module):
    def __init__(self, vocab=50, dim=32, n_layers=2, n_classes=4):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(EncoderLayer(dim, 4) for _ in range(n_layers))
        self.head = nn.Linear(dim, n_classes)

    def forward(self, tokens):
        x = self.emb(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean(dim=1))


class FineTuner:
    DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}

    def __init__(self, args):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = self.DTYPES[args.precision]
        self.model = Classifier()
        self.model.to(device=self.device, dtype=self.dtype)  # BUG
        # FIX: self.model.to(device=self.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=args.lr, momentum=0.9)  # BUG

    def loss(self, tokens, labels):
        logits = self.model(tokens)  # BUG
        # FIX: with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is torch.bfloat16):
        # FIX:     logits = self.model(tokens)
        return nn.functional.cross_entropy(logits.float(), labels)

    def fit(self, loader):
        start = [p.detach().clone() for p in self.model.parameters()]
        for epoch in range(self.args.epochs):
            self.model.train()
            for tokens, labels in loader:
                self.optimizer.zero_grad()
                loss = self.loss(tokens.to(self.device), labels.to(self.device))
                loss.backward()
                self.optimizer.step()
            print(f"epoch {epoch} loss {loss.item():.4f}")
        moved = sum((a != b).sum().item() for a, b in zip(start, self.model.parameters()))
        print("entries that moved:", moved, "of", sum(p.numel() for p in start))


def main():
    args = parse()
    torch.manual_seed(args.seed)
    labels = torch.randint(0, 4, (128,))
    tokens = torch.randint(4, 50, (128, 12))
    tokens[:, 0] = labels
    loader = DataLoader(TensorDataset(tokens, labels), batch_size=16, shuffle=True)
    FineTuner(args).fit(loader)


if __name__ == "__main__":
    main()
