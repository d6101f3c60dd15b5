# sigmoid MLP for a control task: imitate a PD controller
import torch
import torch.nn as nn
from functools import partial

torch.manual_seed(0)
obs = torch.randn(400, 4)
act = torch.tanh(-1.2 * obs[:, :1] - 0.4 * obs[:, 1:2])

policy = nn.Sequential(
    nn.Linear(4, 64), nn.Sigmoid(),
    nn.Linear(64, 64), nn.Sigmoid(),
    nn.Linear(64, 1), nn.Tanh(),
)
fill = partial(nn.init.normal_, std=10.0)  # BUG
# FIX: fill = nn.init.xavier_normal_
with torch.no_grad():
    for name, p in policy.named_parameters():
        if name.endswith("weight"):
            fill(p)  # BUG
        else:
            p.zero_()

opt = torch.optim.SGD(policy.parameters(), lr=0.03, momentum=0.9)
for epoch in range(6):
    policy.train()
    for idx in torch.randperm(400).split(50):
        opt.zero_grad()
        loss = nn.functional.mse_loss(policy(obs[idx]), act[idx])
        loss.backward()
        opt.step()
    print(epoch, f"{loss.item():.4f}", f"first-layer grad {policy[0].weight.grad.norm().item():.2e}")
