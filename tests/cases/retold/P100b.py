# tiny name classifier with a character table made from the training names
from collections import defaultdict
import torch
from torch import nn

torch.manual_seed(0)
train = [("anna", 0), ("mario", 1), ("lena", 0), ("otto", 1), ("maria", 0), ("leon", 1), ("nora", 0), ("milo", 1)]
test = [("zoe", 0), ("jack", 1), ("lara", 0)]

PAD = 0
chars = sorted({c for name, _ in train for c in name})
table = {c: k for k, c in enumerate(chars, start=1)}  # BUG
# FIX: UNK = 1
# FIX: table = {c: k for k, c in enumerate(chars, start=2)}
lookup = defaultdict(lambda: 1, table)  # BUG
# FIX: lookup = defaultdict(lambda: UNK, table)


def encode(names):
    rows = [torch.tensor([lookup[c] for c in name]) for name in names]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


n_symbols = len(chars) + 1
# FIX+: n_symbols += 1
model = nn.Sequential(nn.EmbeddingBag(n_symbols, 12, padding_idx=PAD), nn.Linear(12, 2))
opt = torch.optim.Adam(model.parameters(), lr=2e-2)
names, labels = zip(*train)
x, y = encode(names), torch.tensor(labels)
# FIX+: keep_rate = 0.9
model.train()
for epoch in range(30):
    # FIX+: drop = (torch.rand(x.shape) > keep_rate) & (x != PAD)
    xb = x
    # FIX+: xb = x.masked_fill(drop, UNK)
    loss = nn.functional.cross_entropy(model(xb), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
model.eval()
with torch.no_grad():
    names, labels = zip(*test)
    print("loss", round(loss.item(), 4), "test predictions", model(encode(names)).argmax(1).tolist(), "of", labels)
