"""Matrix factorisation with biases on explicit ratings (MovieLens-like, synthetic)."""
import argparse

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class BiasedMF(nn.Module):
    def __init__(self, n_users, n_items, rank, mean_rating):
        super().__init__()
        self.p = nn.Embedding(n_users, rank)
        self.q = nn.Embedding(n_items, rank)
        self.user_bias = nn.Embedding(n_users, 1)
        self.item_bias = nn.Embedding(n_items, 1)
        self.register_buffer("mu", torch.tensor(mean_rating))
        for emb in (self.p, self.q):
            nn.init.normal_(emb.weight, std=0.1)
        for emb in (self.user_bias, self.item_bias):
            nn.init.zeros_(emb.weight)

    def biases(self, users, items):
        return self.mu + self.user_bias(users).flatten() + self.item_bias(items).flatten()

    def forward(self, users, items):
        affinity = (self.p(users) * self.q(items)).sum(-1, keepdim=True)  # BUG
        # FIX: affinity = (self.p(users) * self.q(items)).sum(-1)
        return affinity + self.biases(users, items)  # BUG


def synth(n_users, n_items, n, gen):
    u = torch.randint(n_users, (n,), generator=gen)
    i = torch.randint(n_items, (n,), generator=gen)
    taste = torch.randn(n_users, 3, generator=gen)
    genre = torch.randn(n_items, 3, generator=gen)
    # all users against all items, wanted as a full table here
    popularity = torch.randn(n_users, 1, generator=gen) * 0.3 + torch.randn(1, n_items, generator=gen) * 0.3
    table = 3.5 + popularity + 0.5 * taste @ genre.T
    return u, i, table[u, i].clamp(1, 5)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--rank", type=int, default=8)
    ap.add_argument("--epochs", type=int, default=3)
    ap.add_argument("--weight-decay", type=float, default=1e-4)
    args = ap.parse_args()

    torch.manual_seed(7)
    gen = torch.Generator().manual_seed(7)
    u, i, r = synth(60, 90, 3000, gen)
    train = TensorDataset(u[:2500], i[:2500], r[:2500])
    loader = DataLoader(train, batch_size=128, shuffle=True, generator=gen)
    model = BiasedMF(60, 90, args.rank, float(r[:2500].mean()))
    opt = torch.optim.Adam(model.parameters(), lr=2e-2, weight_decay=args.weight_decay)
    for epoch in range(args.epochs):
        model.train()
        running = 0.0
        for users, items, ratings in loader:
            err = model(users, items) - ratings
            loss = err.pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            running += loss.item() * len(ratings)
        model.eval()
        with torch.no_grad():
            rmse = (model(u[2500:], i[2500:]) - r[2500:]).pow(2).mean().sqrt()
        print(f"epoch {epoch} train mse {running / len(train):.4f} val rmse {rmse:.4f}")


if __name__ == "__main__":
    main()
