# random network distillation: a fixed, spectrally normalised target network gives the exploration bonus
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import spectral_norm as sn

torch.manual_seed(8)
OBS, FEAT = 6, 16


def mlp(wrap):
    return nn.Sequential(wrap(nn.Linear(OBS, 64)), nn.Tanh(), wrap(nn.Linear(64, FEAT)))


target = mlp(sn)
with torch.no_grad():
    for layer in (target[0], target[2]):
        layer.weight_orig.mul_(4.0)
# FIX+: for _ in range(30):
# FIX+:     target(torch.randn(1, OBS))
target.eval().requires_grad_(False)  # BUG
predictor = mlp(lambda layer: layer)
optimizer = torch.optim.Adam(predictor.parameters(), lr=2e-3)


def intrinsic(obs):
    with torch.no_grad():
        goal = target(obs)  # BUG
    return (predictor(obs) - goal).pow(2).mean(dim=1)


state = torch.zeros(32, OBS)
predictor.train()
for it in range(40):
    state = 0.9 * state + 0.3 * torch.randn(32, OBS)
    bonus = intrinsic(state)
    loss = bonus.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if it % 10 == 0:
        print(it, "bonus", round(bonus.detach().mean().item(), 4))

predictor.eval()
with torch.no_grad():
    far = intrinsic(5 + torch.randn(32, OBS)).mean()
print("bonus far away", round(far.item(), 4), "gain", [round(torch.linalg.matrix_norm(l.weight, 2).item(), 3)
                                                      for l in (target[0], target[2])])
