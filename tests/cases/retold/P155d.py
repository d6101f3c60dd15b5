"""Dense retrieval: train a projection, then score every query against the passage index."""
import time

import torch
from torch import nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DIM = 256


class TwoTower(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.query = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.passage = nn.Linear(dim, dim)

    def encode_query(self, x):
        return nn.functional.normalize(self.query(x), dim=-1)

    def encode_passage(self, x):
        return nn.functional.normalize(self.passage(x), dim=-1)


def in_batch_loss(model, q, p, temperature=0.05):
    sim = model.encode_query(q) @ model.encode_passage(p).T / temperature
    return nn.functional.cross_entropy(sim, torch.arange(len(q), device=q.device))


def train(model, queries, passages, steps=15, bs=64):
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for step in range(steps):
        idx = torch.randint(len(queries), (bs,), device=DEVICE)
        loss = in_batch_loss(model, queries[idx], passages[idx])
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"train loss {loss.item():.3f}")


@torch.inference_mode()
def retrieve(model, queries, index, k=10):
    model.eval()
    top = []
    for q in queries:  # BUG
    # FIX: for q in queries.split(512):
        scores = torch.mv(index, model.encode_query(q))  # BUG
        # FIX: scores = model.encode_query(q) @ index.T
        top.append(scores.topk(k).indices)
    return torch.stack(top)  # BUG
    # FIX: return torch.cat(top)


def main():
    torch.manual_seed(0)
    topics = torch.randn(8192, DIM, device=DEVICE)
    passages = topics + 0.5 * torch.randn_like(topics)
    queries = topics + 0.5 * torch.randn_like(topics)
    model = TwoTower(DIM).to(DEVICE)
    train(model, queries, passages)
    with torch.inference_mode():
        index = model.encode_passage(passages)
    test = torch.arange(0, 8192, 16, device=DEVICE)
    t0 = time.perf_counter()
    found = retrieve(model, queries[test], index)
    recall = (found == test[:, None]).any(1).float().mean().item()
    print(f"recall@10 {recall:.3f} for {len(test)} queries in {time.perf_counter() - t0:.2f} s")


if __name__ == "__main__":
    main()
