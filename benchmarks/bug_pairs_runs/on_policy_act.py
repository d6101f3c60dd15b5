"""Train a policy over several discrete actions with an entropy bonus, as the project's PPO does.

fix: 9677c91f
depth: live 8
expects: -
where: onpolicy/algorithms/utils/act.py
"""

import numpy as np
import torch
from onpolicy.algorithms.utils.act import ACTLayer
from torch import nn


class MultiDiscrete:
    low, high = np.array([0, 0]), np.array([3, 2])


base = nn.Sequential(nn.Linear(6, 32), nn.Tanh())
act = ACTLayer(MultiDiscrete(), 32, use_orthogonal=True, gain=0.01)
optimizer = torch.optim.Adam([*base.parameters(), *act.parameters()], lr=5e-4, eps=1e-5)
for _ in range(8):
    observations, advantages = torch.randn(32, 6), torch.randn(32, 1)
    with torch.no_grad():
        actions, old, *_ = act(base(observations))
    for _ in range(2):
        log_probs, entropy = act.evaluate_actions(base(observations), actions, active_masks=torch.ones(32, 1))
        ratio = torch.exp(log_probs - old)
        surrogate = torch.min(ratio * advantages, torch.clamp(ratio, 0.8, 1.2) * advantages)
        loss = -surrogate.sum(-1, keepdim=True).mean() - 0.01 * entropy
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(base.parameters(), 10.0)
        optimizer.step()
