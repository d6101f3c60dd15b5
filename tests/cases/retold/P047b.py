# 1-d waveform GAN, flat script with manual optimisation
import itertools
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(1)
Z, T, B = 8, 32, 32
gen = nn.Sequential(nn.Linear(Z, 64), nn.ReLU(), nn.Linear(64, T), nn.Tanh())
disc = nn.Sequential(nn.Linear(T, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))


def real_waves(n):
    t = torch.linspace(0, 6.28, T)
    return 0.9 * torch.sin(t + 6.28 * torch.rand(n, 1))


opt = torch.optim.Adam(itertools.chain(gen.parameters(), disc.parameters()), lr=2e-4)  # BUG
# FIX: opt_d = torch.optim.Adam(disc.parameters(), lr=2e-4)
# FIX: opt_g = torch.optim.Adam(gen.parameters(), lr=2e-4)
gen.train()
disc.train()
for it in range(100):
    # critic turn
    real = real_waves(B)
    with torch.no_grad():
        fake = gen(torch.randn(B, Z))
    d_loss = F.softplus(-disc(real)).mean() + F.softplus(disc(fake)).mean()
    opt.zero_grad()  # BUG
    # FIX: opt_d.zero_grad()
    d_loss.backward()
    opt.step()  # BUG
    # FIX: opt_d.step()

    # generator turn
    g_loss = F.softplus(-disc(gen(torch.randn(B, Z)))).mean()
    opt.zero_grad()  # BUG
    # FIX: opt_g.zero_grad()
    g_loss.backward()
    opt.step()  # BUG
    # FIX: opt_g.step()
    if it % 25 == 24:
        print(f"it {it + 1} d {d_loss.item():.3f} g {g_loss.item():.3f}")

gen.eval()
with torch.no_grad():
    print("sample std", gen(torch.randn(64, Z)).std().item())
