# caption decoder, flat script; word ids 2..29, <bos>=0, <eos>=1
import torch
from torch import nn

torch.manual_seed(11)
BOS, END, VOCAB, DIM = 0, 1, 30, 32
FILL = END  # BUG


def make(n):
    feats = torch.randn(n, 16)
    lens = torch.randint(2, 9, (n,))
    caps = torch.full((n, 11), FILL)
    caps[:, 0] = BOS
    for i, k in enumerate(lens.tolist()):
        caps[i, 1:k + 1] = 2 + (torch.arange(k) * 3 + int(feats[i, 0] > 0)) % 28
        caps[i, k + 1] = END
    return feats, caps, lens + 2            # bos + words + eos


init = nn.Linear(16, DIM)
embed = nn.Embedding(VOCAB, DIM)
cell = nn.GRU(DIM, DIM, batch_first=True)
head = nn.Linear(DIM, VOCAB)
mods = nn.ModuleList([init, embed, cell, head])


def decode(feats, tokens):
    h0 = torch.tanh(init(feats)).unsqueeze(0)
    return head(cell(embed(tokens), h0)[0])


xent = nn.CrossEntropyLoss(ignore_index=FILL)  # BUG
# FIX: xent = nn.CrossEntropyLoss(ignore_index=-100)
opt = torch.optim.Adam(mods.parameters(), lr=5e-3)
for it in range(40):
    mods.train()
    feats, caps, n_tok = make(24)
    gold = caps[:, 1:].clone()
    # FIX+: gold[torch.arange(gold.size(1)) >= (n_tok - 1)[:, None]] = -100
    loss = xent(decode(feats, caps[:, :-1]).reshape(-1, VOCAB), gold.reshape(-1))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if (it + 1) % 10 == 0:
        print(f"it {it + 1} loss {loss.item():.3f}")

mods.eval()
with torch.no_grad():
    feats, caps, n_tok = make(16)
    seq = torch.full((16, 1), BOS)
    for _ in range(12):
        seq = torch.cat([seq, decode(feats, seq)[:, -1:].argmax(-1)], 1)
print("captions that end:", (seq == END).any(1).float().mean().item())
