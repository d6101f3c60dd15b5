"""Metric learning with triplets, judged by k-nearest-neighbour retrieval."""
import argparse
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.neighbors import NearestNeighbors


class Embedder(nn.Module):
    def __init__(self, n_in, dim=512):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(n_in, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, dim))

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


class KNNEvaluator:
    """precision of the k nearest gallery items"""

    def __init__(self, k, **index_options):
        self.k = k
        self.index_options = index_options

    def __call__(self, gallery, gallery_ids, queries, query_ids):
        index = NearestNeighbors(n_neighbors=self.k, **self.index_options).fit(gallery.numpy())  # BUG
        found = torch.from_numpy(index.kneighbors(queries.numpy(), return_distance=False))
        same = gallery_ids[found] == query_ids[:, None]  # (Q, k) against (Q, 1)
        return same.float().mean().item()


def people(n, n_people, gen, prototypes):
    who = torch.randint(0, n_people, (n,), generator=gen)
    return prototypes[who] + 0.8 * torch.randn(n, prototypes.size(1), generator=gen), who


def triplets(x, who, n, gen):
    anchor = torch.randint(0, len(x), (n,), generator=gen)
    same = who[anchor][:, None] == who[None, :]
    same[torch.arange(n), anchor] = False
    positive = torch.multinomial(same.float(), 1, generator=gen).squeeze(1)
    apart = who[anchor][:, None] != who[None, :]
    negative = torch.multinomial(apart.float(), 1, generator=gen).squeeze(1)
    return x[anchor], x[positive], x[negative]


@torch.no_grad()
def embed(model, x):
    model.eval()
    return torch.cat([model(part).cpu() for part in x.split(256)])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--embed-dim", type=int, default=512)
    ap.add_argument("--epochs", type=int, default=2)
    ap.add_argument("--knn", type=int, default=5)
    args = ap.parse_args()

    torch.manual_seed(0)
    gen = torch.Generator().manual_seed(1)
    prototypes = torch.randn(20, 32, generator=gen)
    x, who = people(2000, 20, gen, prototypes)
    xq, whoq = people(150, 20, gen, prototypes)
    model = Embedder(32, args.embed_dim)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.TripletMarginLoss(margin=0.3)
    evaluate = KNNEvaluator(k=args.knn, algorithm="kd_tree", leaf_size=30)  # BUG
    # FIX: evaluate = KNNEvaluator(k=args.knn, algorithm="brute")

    for epoch in range(args.epochs):
        model.train()
        for _ in range(10):
            a, p, n = triplets(x, who, 128, gen)
            optimizer.zero_grad()
            ea, ep, en = model(torch.cat([a, p, n])).chunk(3)
            loss = criterion(ea, ep, en)
            loss.backward()
            optimizer.step()
        began = time.perf_counter()
        precision = evaluate(embed(model, x), who, embed(model, xq), whoq)
        took = time.perf_counter() - began
        print(f"epoch {epoch} loss {loss.item():.4f} P@{args.knn} {precision:.3f} ({took:.2f}s)")


if __name__ == "__main__":
    main()
