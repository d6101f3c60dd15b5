# %% text regression with warm-up, notebook export
import numpy as np
import torch
from torch import nn, optim

torch.manual_seed(1234)
np.random.seed(1234)

# %%
vocab_size, seq_len, n = 200, 12, 120
tokens = torch.randint(1, vocab_size, (n, seq_len))
weights = torch.randn(vocab_size)
target = weights[tokens].mean(1, keepdim=True)

# %%
net = nn.Sequential(nn.EmbeddingBag(vocab_size, 32), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 1))
opt = optim.AdamW(net.parameters(), lr=3e-3)
warmup = 10
sch = optim.lr_scheduler.LambdaLR(opt, lambda it: min(1.0, (it + 1) / warmup))

# %%
history = []
net.train()
for ep in range(4):
    perm = torch.randperm(n)
    for i in range(0, n, 20):
        idx = perm[i:i + 20]
        pred = net(tokens[idx])
        loss = nn.functional.mse_loss(pred, target[idx])
        opt.zero_grad()
        loss.backward()
        for updater in (sch, opt):  # BUG
        # FIX: for updater in (opt, sch):
            updater.step()  # BUG
        history.append((sch.get_last_lr()[0], loss.item()))

# %%
net.eval()
with torch.no_grad():
    final = nn.functional.mse_loss(net(tokens), target).item()
print("first lr", history[0][0], "last lr", history[-1][0], "mse", round(final, 5))
