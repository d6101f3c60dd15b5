import argparse
import math

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset


class LoRALinear(nn.Module):
    def __init__(self, base, rank=4, alpha=8.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a = nn.Parameter(torch.randn(rank, base.in_features) / math.sqrt(base.in_features))
        self.b = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scaling * (x @ self.a.t() @ self.b.t())


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up = LoRALinear(nn.Linear(dim, 2 * dim))
        self.down = LoRALinear(nn.Linear(2 * dim, dim))
        self.norm.requires_grad_(False)

    def forward(self, x):
        return x + self.down(nn.functional.gelu(self.up(self.norm(x))))


class Encoder(nn.Module):
    def __init__(self, vocab, dim, depth, ckpt_kwargs):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.emb.requires_grad_(False)
        self.blocks = nn.ModuleList(Block(dim) for _ in range(depth))
        self.head = nn.Linear(dim, 3)
        self.ckpt_kwargs = ckpt_kwargs

    def forward(self, tokens):
        x = self.emb(tokens)
        for block in self.blocks:
            x = checkpoint(block, x, **self.ckpt_kwargs) if self.training else block(x)  # BUG
        return self.head(x.mean(1))


class Intents(Dataset):
    def __init__(self, n=120):
        self.labels = torch.randint(0, 3, (n,))
        self.tokens = torch.randint(3, 40, (n, 8))
        self.tokens[:, 0] = self.labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.tokens[i], self.labels[i]


def main(args):
    torch.manual_seed(0)
    loader = DataLoader(Intents(), batch_size=20, shuffle=True)
    gradient_checkpointing_kwargs = {"use_reentrant": True}  # BUG
    # FIX: gradient_checkpointing_kwargs = {"use_reentrant": False}
    model = Encoder(40, 24, args.depth, gradient_checkpointing_kwargs)
    trainable = [p for p in model.parameters() if p.requires_grad]
    opt = torch.optim.AdamW(trainable, lr=args.lr)
    for epoch in range(args.epochs):
        model.train()
        for tokens, labels in loader:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(tokens), labels)
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--epochs", type=int, default=3)
    main(parser.parse_args())
