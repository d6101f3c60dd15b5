"""Knowledge graph embedding (TransE-like) with a projection and dropout."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F


class TransE(nn.Module):
    def __init__(self, n_ent, n_rel, args):
        super().__init__()
        self.ent, self.rel = nn.Embedding(n_ent, args.dim), nn.Embedding(n_rel, args.dim)
        self.proj = nn.Sequential(nn.Linear(args.dim, args.dim), nn.Tanh(), nn.Dropout(args.dropout))
        self.margin = args.margin
        self.n_ent = n_ent

    def score(self, triple):
        h, r, t = triple.unbind(-1)
        return (self.proj(self.ent(h)) + self.rel(r) - self.proj(self.ent(t))).norm(dim=-1)

    def forward(self, pos, neg):
        return F.relu(self.margin + self.score(pos) - self.score(neg)).mean()

    @torch.no_grad()
    def eval(self, triples=None):  # BUG
    # FIX: def hits_at_3(self, triples):
        """Share of triples whose true tail is among the three best ones."""
        if triples is None:  # BUG
        # FIX:
            return self  # BUG
            # FIX:
        hits = 0
        for h, r, t in triples.tolist():
            cand = torch.tensor([[h, r, e] for e in range(self.n_ent)])
            hits += int(t in self.score(cand).topk(3, largest=False).indices.tolist())
        return hits / len(triples)


def corrupt(pos, n_ent):
    neg = pos.clone()
    neg[:, 2] = torch.randint(0, n_ent, (len(pos),))
    return neg


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dim", type=int, default=24)
    p.add_argument("--dropout", type=float, default=0.3)
    p.add_argument("--margin", type=float, default=1.0)
    p.add_argument("--steps", type=int, default=60)
    args = p.parse_args()
    torch.manual_seed(0)
    n_ent, n_rel = 30, 3
    h = torch.arange(n_ent).repeat(n_rel)
    r = torch.arange(n_rel).repeat_interleave(n_ent)
    triples = torch.stack([h, r, (h + r + 1) % n_ent], dim=1)
    model = TransE(n_ent, n_rel, args)
    opt = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(args.steps):
        model.train()
        pos = triples[torch.randperm(len(triples))[:32]]
        loss = model(pos, corrupt(pos, n_ent))
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()  # BUG
    print(f"loss {loss.item():.4f} hits@3 {model.eval(triples[:40]):.3f}")  # BUG
    # FIX: print(f"loss {loss.item():.4f} hits@3 {model.hits_at_3(triples[:40]):.3f}")


if __name__ == "__main__":
    main()
