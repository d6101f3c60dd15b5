# REINFORCE on a little corridor, script style
import torch
from torch import nn

torch.manual_seed(4)
LENGTH, GAMMA = 6, 0.95
policy = nn.Sequential(nn.Linear(LENGTH, 24), nn.ReLU(), nn.Linear(24, 2))
optim = torch.optim.SGD(policy.parameters(), lr=5e-3)


def episode(max_steps=20):
    pos, logps, rewards = 0, [], []
    for _ in range(max_steps):
        state = nn.functional.one_hot(torch.tensor(pos), LENGTH).float()
        dist = torch.distributions.Categorical(logits=policy(state))
        a = dist.sample()
        logps.append(dist.log_prob(a))
        pos = max(0, pos + (1 if a.item() == 1 else -1))
        done = pos == LENGTH - 1
        rewards.append(1.0 if done else -0.05)
        if done:
            break
    return torch.stack(logps), rewards


def returns(rewards):
    out, acc = [], 0.0
    for r in reversed(rewards):
        acc = r + GAMMA * acc
        out.insert(0, acc)
    return torch.tensor(out)


running = 0.0
optim.zero_grad()
for ep in range(60):
    policy.train()
    logps, rewards = episode()
    G = returns(rewards)
    adv = G - G.mean()
    loss = -(logps * adv).sum()
    # FIX+: optim.zero_grad()
    loss.backward()  # BUG
    nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
    optim.step()  # BUG
    running = 0.9 * running + 0.1 * sum(rewards)
    if ep % 20 == 19:
        print("episode", ep + 1, "return", round(running, 3))
