import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(5)

# Set-to-value regression: 8 slots per set, 8 sets per batch, some slots empty
batch, slots, dim = 8, 8, 12

embed = nn.Linear(3, dim)
to_q, to_k, to_v = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
readout = nn.Linear(dim, 1)
modules = nn.ModuleList([embed, to_q, to_k, to_v, readout])
opt = torch.optim.AdamW(modules.parameters(), lr=3e-3)


def sample_sets():
    x = torch.randn(batch, slots, 3)
    n = torch.randint(2, slots + 1, (batch,))
    filled = torch.arange(slots)[None, :] < n[:, None]
    x = x * filled[..., None]
    y = (x[..., 0].abs() * filled).sum(1) / n
    return x, filled, y


def forward(x, filled):
    h = embed(x)
    att = F.scaled_dot_product_attention(to_q(h), to_k(h), to_v(h), attn_mask=filled)  # BUG
    # FIX: att = F.scaled_dot_product_attention(to_q(h), to_k(h), to_v(h), attn_mask=filled[:, None, :])
    h = h + att
    w = filled[..., None].float()
    pooled = (h * w).sum(dim=1) / w.sum(dim=1)
    return readout(pooled).squeeze(-1)


modules.train()
for step in range(80):
    x, filled, y = sample_sets()
    loss = F.mse_loss(forward(x, filled), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 20 == 0:
        print(f"{step:3d} {loss.item():.4f}")

modules.eval()
with torch.no_grad():
    x, filled, y = sample_sets()
    print("held-out", F.l1_loss(forward(x, filled), y).item())
