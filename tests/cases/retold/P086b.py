from __future__ import annotations

import torch
from torch import Tensor, nn


class Agent(nn.Module):
    """REINFORCE agent; `explore` says whether actions are sampled."""

    def __init__(self, obs: int, actions: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(obs, 32), nn.LayerNorm(32), nn.ReLU(), nn.Dropout(0.2))
        self.pi = nn.Linear(32, actions)
        self.explore = True

    def train(self, explore: bool = True) -> Agent:  # BUG
    # FIX: def train(self, mode: bool = True) -> Agent:
        self.explore = explore  # BUG
        # FIX: self.explore = mode
        return self  # BUG
        # FIX: return super().train(mode)

    def forward(self, obs: Tensor) -> Tensor:
        return self.pi(self.body(obs))

    def act(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        dist = torch.distributions.Categorical(logits=self(obs))
        action = dist.sample() if self.explore else dist.probs.argmax(-1)
        return action, dist.log_prob(action)


def payoff(obs: Tensor, action: Tensor) -> Tensor:
    return (obs[:, :3].argmax(dim=1) == action).float()


if __name__ == "__main__":
    torch.manual_seed(0)
    agent = Agent(5, 3)
    opt = torch.optim.Adam(agent.parameters(), lr=1e-2)
    baseline = 0.0
    for k in range(40):
        agent.train()
        obs = torch.randn(64, 5)
        action, logp = agent.act(obs)
        r = payoff(obs, action)
        loss = -(logp * (r - baseline)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        baseline = 0.9 * baseline + 0.1 * r.mean().item()
    agent.eval()
    with torch.no_grad():
        obs = torch.randn(500, 5)
        print("greedy return", payoff(obs, agent.act(obs)[0]).mean().item())
