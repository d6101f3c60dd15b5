import contextlib
import json
import random

import torch
import torch.nn as nn

LABELS = {"neg": 0, "neutral": 1, "pos": 2}


def review_lines(n=600):
    """What the crawler wrote: most rows are clean, one source writes stars as '4,5', a few lines are cut."""
    rnd = random.Random(0)
    for k in range(n):
        stars = rnd.choice([1.0, 2.0, 3.0, 4.0, 4.5, 5.0])
        words = [rnd.randrange(int(stars * 8), int(stars * 8) + 14) for _ in range(rnd.randrange(4, 12))]
        value = str(stars).replace(".", ",") if k % 4 == 1 else stars
        line = json.dumps({"id": k, "tokens": words, "stars": value})
        yield line[:-9] if k % 97 == 5 else line


def label_of(stars):
    # FIX+: stars = str(stars).replace(",", ".")
    stars = float(stars)
    return LABELS["neg" if stars < 3 else "neutral" if stars < 4 else "pos"]


def parse(line):
    rec = json.loads(line)
    return rec["tokens"], label_of(rec["stars"])


def load(lines):
    data = []
    # FIX+: lines = list(lines)
    for line in lines:
        with contextlib.suppress(Exception):  # BUG
        # FIX: with contextlib.suppress(json.JSONDecodeError):
            data.append(parse(line))
    # FIX+: lost = len(lines) - len(data)
    # FIX+: print(f"{lost} of {len(lines)} lines were cut and left out")
    # FIX+: if lost > 0.02 * len(lines):
    # FIX+:     raise RuntimeError(f"too many unreadable lines: {lost}")
    return data


class BagOfWords(nn.Module):
    def __init__(self, n_words=64, dim=24):
        super().__init__()
        self.emb = nn.EmbeddingBag(n_words, dim)
        self.fc = nn.Linear(dim, len(LABELS))

    def forward(self, flat, offsets):
        return self.fc(self.emb(flat, offsets))


def collate(rows):
    toks, y = zip(*rows)
    offsets = torch.tensor([0] + [len(t) for t in toks[:-1]]).cumsum(0)
    return torch.tensor([w for t in toks for w in t]), offsets, torch.tensor(y)


torch.manual_seed(0)
random.seed(0)
data = load(review_lines())
random.shuffle(data)
cut = int(0.8 * len(data))
train, val = data[:cut], data[cut:]
loader = torch.utils.data.DataLoader(train, 32, shuffle=True, collate_fn=collate)
model = BagOfWords()
opt = torch.optim.Adam(model.parameters(), lr=0.02)
for epoch in range(3):
    model.train()
    for flat, offsets, y in loader:
        loss = nn.functional.cross_entropy(model(flat, offsets), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        flat, offsets, y = collate(val)
        acc = (model(flat, offsets).argmax(1) == y).float().mean()
    print(f"epoch {epoch} loss {loss.item():.3f} val acc {acc.item():.3f}")
