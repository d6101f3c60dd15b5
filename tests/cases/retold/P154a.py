"""Masked-token pretraining of a small BERT-like encoder."""
import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F


def get_args():
    p = argparse.ArgumentParser()
    p.add_argument("--vocab-size", type=int, default=30522)  # BUG
    # FIX: p.add_argument("--vocab-size", type=int, default=30528)
    p.add_argument("--hidden", type=int, default=64)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--layers", type=int, default=2)
    p.add_argument("--seq-len", type=int, default=32)
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--mask-prob", type=float, default=0.15)
    return p.parse_args()


class MLMHead(nn.Module):
    def __init__(self, hidden, vocab):
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.decoder = nn.Linear(hidden, vocab)

    def forward(self, x):
        return self.decoder(self.norm(F.gelu(self.dense(x))))


class TinyBert(nn.Module):
    def __init__(self, args):
        super().__init__()
        self.tok = nn.Embedding(args.vocab_size, args.hidden)
        self.pos = nn.Embedding(args.seq_len, args.hidden)
        layer = nn.TransformerEncoderLayer(args.hidden, args.heads, 4 * args.hidden, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, args.layers)
        self.head = MLMHead(args.hidden, args.vocab_size)

    def forward(self, ids):
        pos = torch.arange(ids.size(1), device=ids.device)
        return self.head(self.encoder(self.tok(ids) + self.pos(pos)))


class Pretrainer:
    MASK_ID = 103

    def __init__(self, args):
        self.args = args
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = TinyBert(args).to(self.device)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=1e-3)

    def sample(self):
        # word ids of the tokenizer lie in [1000, 30522)
        shape = (self.args.batch_size, self.args.seq_len)
        ids = torch.randint(1000, 30522, shape, device=self.device)
        masked = torch.rand(shape, device=self.device) < self.args.mask_prob
        masked[:, 0] = True
        labels = ids.masked_fill(~masked, -100)
        return ids.masked_fill(masked, self.MASK_ID), labels

    def train(self):
        self.model.train()
        for step in range(self.args.steps):
            ids, labels = self.sample()
            logits = self.model(ids)
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
            self.opt.zero_grad(set_to_none=True)
            loss.backward()
            self.opt.step()
        print(f"final loss {loss.item():.3f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    Pretrainer(get_args()).train()
