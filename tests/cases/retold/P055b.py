# add task tokens to a pretrained tagger, then keep training it
import copy
import torch
from torch import nn

torch.manual_seed(0)


def make_tagger(vocab, dim=16, tags=4):
    return nn.ModuleDict({"emb": nn.Embedding(vocab, dim), "rnn": nn.GRU(dim, dim, batch_first=True),
                          "out": nn.Linear(dim, tags)})


def run(m, ids):
    return m["out"](m["rnn"](m["emb"](ids))[0])


def grow_vocab(m, extra):
    old = m["emb"].weight.detach()
    new = nn.Embedding(old.size(0) + extra, old.size(1))
    with torch.no_grad():
        new.weight[: old.size(0)] = old
    m["emb"] = new  # BUG
    return m


def train(m, opt, vocab, steps, rule):
    m.train()
    for _ in range(steps):
        ids = torch.randint(vocab, (32, 10))
        loss = nn.functional.cross_entropy(run(m, ids).flatten(0, 1), rule(ids).flatten())
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
    return loss.item()


rule = lambda ids: ids % 4
base = make_tagger(vocab=20)
print("pretrain", train(base, torch.optim.Adam(base.parameters(), lr=1e-2), 20, 40, rule))

tagger = copy.deepcopy(base)
optimizer = torch.optim.Adam(tagger.parameters(), lr=5e-3)  # BUG
# FIX:
tagger = grow_vocab(tagger, extra=8)
# FIX+: optimizer = torch.optim.Adam(tagger.parameters(), lr=5e-3)
print("finetune", train(tagger, optimizer, 28, 40, rule))
tagger.eval()
with torch.no_grad():
    ids = torch.arange(20, 28).unsqueeze(1)
    print("new tokens right:", (run(tagger, ids).argmax(-1) == rule(ids)).float().mean().item())
