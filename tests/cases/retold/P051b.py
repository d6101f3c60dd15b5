# spam filter; batches are cut by total number of words, so they hold different numbers of mails
import torch
from torch import nn

torch.manual_seed(0)
VOCAB = 60


def mail(spam):
    size = int(torch.randint(5, 40, (1,)))
    lo, hi = (0, 45) if spam else (15, VOCAB)
    return torch.randint(lo, hi, (size,)), float(spam)


def by_words(mails, budget=120):
    group, used = [], 0
    for words, label in mails:
        if group and used + len(words) > budget:
            yield group
            group, used = [], 0
        group.append((words, label))
        used += len(words)
    if group:
        yield group


def to_tensors(group):
    flat = torch.cat([w for w, _ in group])
    offsets = torch.tensor([0] + [len(w) for w, _ in group[:-1]]).cumsum(0)
    return flat, offsets, torch.tensor([s for _, s in group])


train = [mail(i % 2 == 0) for i in range(160)]
held_out = sorted([mail(i % 2 == 0) for i in range(60)], key=lambda m: len(m[0]))
net = nn.Sequential()
net.bag = nn.EmbeddingBag(VOCAB, 8, mode="mean")
net.out = nn.Linear(8, 1)
score = lambda flat, offsets: net.out(net.bag(flat, offsets)).squeeze(1)
opt = torch.optim.Adam(net.parameters(), lr=0.02)
bce = nn.BCEWithLogitsLoss()

for epoch in range(4):
    net.train()
    for group in by_words(train):
        flat, off, y = to_tensors(group)
        opt.zero_grad()
        loss = bce(score(flat, off), y)
        loss.backward()
        opt.step()

    net.eval()
    accs = []
    # FIX+: n_seen = 0
    with torch.no_grad():
        for group in by_words(held_out):
            flat, off, y = to_tensors(group)
            right = (score(flat, off) > 0) == y.bool()
            accs.append(right.float().mean())  # BUG
            # FIX: accs.append(right.float().sum())
            # FIX: n_seen += len(y)
    accuracy = torch.stack(accs).mean()  # BUG
    # FIX: accuracy = torch.stack(accs).sum() / n_seen
    print(f"epoch {epoch} loss {loss.item():.3f} held-out accuracy {accuracy.item():.3f}")
