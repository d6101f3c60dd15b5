"""Train the squashed Gaussian policy of soft actor-critic, as its update does.

fix: 500c6b26
depth: live 8
expects: -
where: model.py
stands in: the project's helper file (two functions that are not used here)
"""

import torch
from stand_ins import stand_in
from torch import nn

stand_in("utils")
from model import GaussianPolicy, QNetwork

policy, critic = GaussianPolicy(6, 3, 32), QNetwork(6, 3, 32)
policy_optimizer = torch.optim.Adam(policy.parameters(), lr=3e-4)
critic_optimizer = torch.optim.Adam(critic.parameters(), lr=3e-4)
for _ in range(4):
    states, actions, wanted = torch.randn(32, 6), torch.rand(32, 3) * 2 - 1, torch.randn(32, 1)
    one, two = critic(states, actions)
    loss = nn.functional.mse_loss(one, wanted) + nn.functional.mse_loss(two, wanted)
    critic_optimizer.zero_grad()
    loss.backward()
    critic_optimizer.step()
    new_actions, log_prob, *_ = policy.evaluate(states, reparam=True)
    loss = (0.2 * log_prob - torch.min(*critic(states, new_actions))).mean()
    policy_optimizer.zero_grad()
    loss.backward()
    policy_optimizer.step()
