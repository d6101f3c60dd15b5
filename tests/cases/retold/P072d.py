"""Caption-like sequence model: trains on (feature, token) pairs and prints samples during the epoch."""
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

BOS, EOS, VOCAB, MAXLEN = 0, 1, 24, 9


class Captioner(nn.Module):
    def __init__(self, feat_dim=20, dim=40, p_drop=0.3):
        super().__init__()
        self.init_h = nn.Sequential(nn.Linear(feat_dim, dim), nn.BatchNorm1d(dim), nn.Tanh())
        self.words = nn.Embedding(VOCAB, dim)
        self.cell = nn.GRU(dim, dim, batch_first=True)
        self.drop = nn.Dropout(p_drop)
        self.out = nn.Linear(dim, VOCAB)

    def forward(self, feats, tokens):
        h0 = self.init_h(feats).unsqueeze(0)
        y, _ = self.cell(self.drop(self.words(tokens)), h0)
        return self.out(self.drop(y))

    @torch.inference_mode()
    def caption(self, feats):
        self.train(False)  # BUG
        # FIX: was_training = self.training
        # FIX: self.train(False)
        h = self.init_h(feats).unsqueeze(0)
        tok = torch.full((len(feats), 1), BOS)
        words = []
        for _ in range(MAXLEN):
            y, h = self.cell(self.words(tok), h)
            tok = self.out(y[:, -1]).argmax(-1, keepdim=True)
            words.append(tok)
        # FIX+: self.train(was_training)
        return torch.cat(words, 1)  # BUG


def dataset(n):
    topic = torch.randint(4, (n,))
    feats = torch.randn(4, 20)[topic] + 0.5 * torch.randn(n, 20)
    body = 2 + topic[:, None] * 5 + torch.arange(7)[None, :] % 5
    caps = torch.cat([torch.full((n, 1), BOS), body, torch.full((n, 1), EOS)], 1)
    return feats, caps


def fit(net, feats, caps, epochs=2, bs=32, sample_every=4):
    opt = torch.optim.Adam(net.parameters(), lr=4e-3)
    it = 0
    for epoch in range(epochs):
        net.train()
        order = torch.randperm(len(feats))
        for sel in order.split(bs):
            logits = net(feats[sel], caps[sel, :-1])
            loss = F.cross_entropy(logits.transpose(1, 2), caps[sel, 1:])
            opt.zero_grad()
            loss.backward()
            opt.step()
            it += 1
            if it % sample_every == 0:
                print(f"it {it} loss {loss.item():.3f} e.g. {net.caption(feats[:2])[0].tolist()}")


if __name__ == "__main__":
    random.seed(0)
    torch.manual_seed(0)
    net = Captioner()
    fit(net, *dataset(384))
