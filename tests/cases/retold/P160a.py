"""Face-embedding training with a nearest-neighbour retrieval check."""
import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from scipy import spatial


class Embedder(nn.Module):
    def __init__(self, in_dim, dim):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(in_dim, 256), nn.ReLU(), nn.Linear(256, dim))

    def forward(self, x):
        return F.normalize(self.net(x), dim=1)


class RetrievalEvaluator:
    def __init__(self, k=1):
        self.k = k

    def __call__(self, gallery, gallery_ids, query, query_ids):
        tree = spatial.cKDTree(gallery.cpu().numpy())  # BUG
        # FIX: sim = query @ gallery.t()
        _, nn_idx = tree.query(query.cpu().numpy(), k=self.k)  # BUG
        # FIX: nn_idx = sim.topk(self.k, dim=1).indices.squeeze(1).cpu().numpy()
        return float(np.mean(gallery_ids.cpu().numpy()[nn_idx] == query_ids.cpu().numpy()))


class Trainer:
    def __init__(self, args):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = Embedder(64, args.embed_dim).to(self.device)
        self.proxies = nn.Parameter(torch.randn(16, args.embed_dim, device=self.device))
        params = [*self.model.parameters(), self.proxies]
        self.opt = torch.optim.Adam(params, lr=1e-3)
        centers = torch.randn(16, 64, device=self.device)
        self.ids = torch.arange(16, device=self.device).repeat_interleave(40)
        self.faces = centers[self.ids] + 0.7 * torch.randn(640, 64, device=self.device)

    def fit(self):
        self.model.train()
        for _ in range(self.args.steps):
            idx = torch.randint(640, (64,), device=self.device)
            logits = 16 * self.model(self.faces[idx]) @ F.normalize(self.proxies, dim=1).t()
            loss = F.cross_entropy(logits, self.ids[idx])
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        emb = self.model(self.faces)
        g, q = slice(0, None, 2), slice(1, None, 2)
        return RetrievalEvaluator()(emb[g], self.ids[g], emb[q], self.ids[q])


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("--embed-dim", type=int, default=512)
    p.add_argument("--steps", type=int, default=15)
    torch.manual_seed(0)
    t = Trainer(p.parse_args())
    t.fit()
    print("recall@1", t.evaluate())
