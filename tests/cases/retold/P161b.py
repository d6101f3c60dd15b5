from __future__ import annotations

import random
from functools import partial
from typing import Callable

import numpy as np
import torch
from torch import Tensor, nn

Policy = Callable[[Tensor], Tensor]


class GridWorld:
    """Tiny environment: walk on a ring, reward for reaching cell 0."""

    def __init__(self, size: int = 8) -> None:
        self.size, self.pos = size, 0

    def reset(self) -> int:
        self.pos = random.randrange(1, self.size)
        return self.pos

    def step(self, action: int) -> tuple[int, float, bool]:
        self.pos = (self.pos + (1 if action else -1)) % self.size
        return self.pos, float(self.pos == 0) - 0.05, self.pos == 0


def rollout(env: GridWorld, policy: nn.Module, horizon: int) -> tuple[list[Tensor], list[float]]:
    logps, rewards = [], []
    s = env.reset()
    for _ in range(horizon):
        obs = nn.functional.one_hot(torch.tensor(s), env.size).float()
        dist = torch.distributions.Categorical(logits=policy(obs))
        a = dist.sample()
        logps.append(dist.log_prob(a))
        s, r, done = env.step(int(a))
        rewards.append(r)
        if done:
            break
    return logps, rewards


def returns(rewards: list[float], gamma: float) -> Tensor:
    out, g = [], 0.0
    for r in reversed(rewards):
        g = r + gamma * g
        out.append(g)
    return torch.tensor(out[::-1])


def main(seed: int = 17) -> None:
    seeders = [torch.manual_seed, np.random.seed]  # BUG
    # FIX: seeders = [torch.manual_seed, np.random.seed, random.seed]
    for fn in seeders:
        fn(seed)
    env = GridWorld()
    policy = nn.Sequential(nn.Linear(env.size, 32), nn.Tanh(), nn.Linear(32, 2))
    opt = torch.optim.Adam(policy.parameters(), lr=1e-2)
    play = partial(rollout, env, policy, 16)
    order = np.random.permutation(20)
    policy.train()
    for ep in order:
        logps, rewards = play()
        ret = returns(rewards, gamma=0.95)
        loss = -(torch.stack(logps) * ret).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
    print("last loss", loss.item())


if __name__ == "__main__":
    main()
