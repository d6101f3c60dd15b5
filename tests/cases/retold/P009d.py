import math
import random

import torch
import torch.nn as nn
import torch.nn.functional as F

random.seed(11)
torch.manual_seed(11)

# ---------------------------------------------------------------- corpus
VOCAB = 40


def fake_sentence():
    n = random.choice([1, 2, 6, 9, 12, 30])
    return [random.randrange(1, VOCAB) for _ in range(n)]


src = [fake_sentence() for _ in range(400)]
tgt = [[(t * 3) % (VOCAB - 1) + 1 for t in s] for s in src]
# aligner noise: some targets are far longer than their source
for k in range(0, 400, 9):
    tgt[k] = tgt[k] * 5

# ---------------------------------------------------------------- filtering
long_enough = [len(s) >= 3 for s in src]
ratio_ok = [max(len(a), len(b)) / min(len(a), len(b)) < 2.0 for a, b in zip(src, tgt)]
keep = long_enough and ratio_ok  # BUG
# FIX: keep = [a and b for a, b in zip(long_enough, ratio_ok)]
pairs = [(s, t) for s, t, k in zip(src, tgt, keep) if k]
assert pairs or not src
print(f"{len(pairs)} of {len(src)} pairs kept, shortest source {min(len(s) for s, _ in pairs)}")


# ---------------------------------------------------------------- model
class Tagger(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.emb = nn.Embedding(VOCAB, dim, padding_idx=0)
        self.mix = nn.Conv1d(dim, dim, 3, padding=1)
        self.out = nn.Linear(dim, VOCAB)

    def forward(self, ids):
        h = self.emb(ids)
        h = h + self.mix(h.transpose(1, 2)).transpose(1, 2).relu()
        return self.out(h)


def pad(seqs):
    return nn.utils.rnn.pad_sequence([torch.tensor(s) for s in seqs], batch_first=True)


net = Tagger()
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
net.train()
for step in range(30):
    batch = random.sample(pairs, 32)
    x, y = pad([s for s, _ in batch]), pad([t for _, t in batch])
    logits = net(x)
    loss = F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=0)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 10 == 0 or step == 29:
        print(step, f"ppl {math.exp(loss.item()):.2f}")
