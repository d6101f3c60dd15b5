"""Token classification with a small encoder, in the manner of the old run_ner.py script."""
import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.attn = nn.MultiheadAttention(d, 2, batch_first=True)
        self.norm1 = nn.LayerNorm(d)
        self.ff = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.norm2 = nn.LayerNorm(d)

    def forward(self, x):
        x = self.norm1(x + self.attn(x, x, x, need_weights=False)[0])
        return self.norm2(x + self.ff(x))


class Tagger(nn.Module):
    def __init__(self, vocab=40, d=24, tags=5, depth=2):
        super().__init__()
        self.word = nn.Embedding(vocab, d)
        self.layers = nn.Sequential(*[Layer(d) for _ in range(depth)])
        self.classifier = nn.Linear(d, tags)

    def forward(self, ids):
        return self.classifier(self.layers(self.word(ids)))


torch.manual_seed(0)
model = Tagger()
no_decay = ["LayerNorm.bias", "LayerNorm.weight"]  # BUG
# FIX: no_decay = ["bias", "norm1.weight", "norm2.weight"]
grouped = [
    {"params": [p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)],  # BUG
     "weight_decay": 0.1},
    {"params": [p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)],
     "weight_decay": 0.0},
]
optimizer = torch.optim.AdamW(grouped, lr=3e-3, eps=1e-8)
n_steps = 40
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=n_steps)
for step in range(n_steps):
    model.train()
    ids = torch.randint(40, (16, 12))
    tags = (ids // 8).long()
    loss = nn.functional.cross_entropy(model(ids).transpose(1, 2), tags)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    scheduler.step()
    if step % 10 == 9:
        print("step", step + 1, "loss", round(loss.item(), 4))
model.eval()
with torch.no_grad():
    ids = torch.randint(40, (32, 12))
    print("tag accuracy", (model(ids).argmax(-1) == ids // 8).float().mean().item())
