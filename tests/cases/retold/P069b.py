# sequence tagging: pretrain on noisy tags, then go on with the clean tags
import math
import torch
from torch import nn

torch.manual_seed(11)
V, T, K = 50, 10, 5
mapping = torch.randint(0, K, (V,))


def sample(batch, noise):
    words = torch.randint(0, V, (batch, T))
    tags = mapping[words]
    flip = torch.rand(batch, T) < noise
    return words, torch.where(flip, torch.randint(0, K, (batch, T)), tags)


tagger = nn.ModuleDict({
    "emb": nn.Embedding(V, 24),
    "rnn": nn.GRU(24, 24, batch_first=True, bidirectional=True),
    "out": nn.Linear(48, K),
})


def logits(words):
    h, _ = tagger["rnn"](tagger["emb"](words))
    return tagger["out"](h)


PRETRAIN_STEPS, FINETUNE_STEPS = 30, 30
optimizer = torch.optim.Adam(tagger.parameters(), lr=1e-2)


def linear_decay(total):
    return lambda step: max(0.0, 1.0 - step / total)


def half_cosine(total):
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(step, total) / total))


scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, linear_decay(PRETRAIN_STEPS))


def run(name, steps, noise):
    tagger.train()
    for it in range(steps):
        words, tags = sample(16, noise)
        loss = nn.functional.cross_entropy(logits(words).reshape(-1, K), tags.reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(tagger.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
    print(name, f"loss {loss.item():.4f}", f"lr {optimizer.param_groups[0]['lr']:.2e}")


run("noisy", PRETRAIN_STEPS, noise=0.3)
# FIX+: optimizer = torch.optim.Adam(tagger.parameters(), lr=1e-2)
# FIX+: scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, half_cosine(FINETUNE_STEPS))
run("clean", FINETUNE_STEPS, noise=0.0)  # BUG

tagger.eval()
with torch.no_grad():
    words, tags = sample(64, 0.0)
    print("accuracy", (logits(words).argmax(-1) == tags).float().mean().item())
