"""Double DQN on a random toy MDP."""
import argparse
import copy
from collections import deque
import random

import torch
from torch import nn


class QNet(nn.Module):
    def __init__(self, obs_dim, n_actions):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(obs_dim, 32), nn.ReLU(), nn.Linear(32, n_actions))

    def forward(self, obs):
        return self.net(obs)


class Replay:
    def __init__(self, capacity):
        self.buf = deque(maxlen=capacity)

    def push(self, *tr):
        self.buf.append(tr)

    def sample(self, k):
        obs, act, rew, nxt, done = zip(*random.sample(self.buf, k))
        return (torch.stack(obs), torch.tensor(act), torch.tensor(rew), torch.stack(nxt),
                torch.tensor(done, dtype=torch.float32))


class Agent:
    def __init__(self, args):
        self.args = args
        self.online = QNet(args.obs_dim, args.n_actions)
        self.target = copy.deepcopy(self.online)
        self.target.requires_grad_(False)
        self.opt = torch.optim.Adam(self.online.parameters(), lr=args.lr)

    def bootstrap(self, nxt):
        best = self.online(nxt).argmax(dim=1, keepdim=True)
        return self.target(nxt).gather(1, best)

    def td_targets(self, rew, nxt, done):
        with torch.no_grad():
            return rew + self.args.gamma * (1.0 - done) * self.bootstrap(nxt)  # BUG
            # FIX: return rew + self.args.gamma * (1.0 - done) * self.bootstrap(nxt).squeeze(1)

    def update(self, batch):
        obs, act, rew, nxt, done = batch
        q = self.online(obs).gather(1, act[:, None])[:, 0]
        td = self.td_targets(rew, nxt, done) - q
        loss = 0.5 * td.pow(2).mean()
        self.opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.online.parameters(), 10.0)
        self.opt.step()
        return loss.item()

    def sync(self):
        self.target.load_state_dict(self.online.state_dict())


def act(agent, obs, eps):
    if random.random() < eps:
        return random.randrange(agent.args.n_actions)
    with torch.no_grad():
        return int(agent.online(obs[None]).argmax(1))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--obs-dim", type=int, default=4)
    p.add_argument("--n-actions", type=int, default=3)
    p.add_argument("--gamma", type=float, default=0.95)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--steps", type=int, default=300)
    args = p.parse_args()
    random.seed(0)
    torch.manual_seed(0)
    agent, memory = Agent(args), Replay(1000)
    obs = torch.randn(args.obs_dim)
    for step in range(args.steps):
        a = act(agent, obs, eps=max(0.1, 1 - step / 150))
        nxt = 0.9 * obs + 0.3 * torch.randn(args.obs_dim)
        reward = float(obs[a])
        done = random.random() < 0.05
        memory.push(obs, a, reward, nxt, done)
        obs = torch.randn(args.obs_dim) if done else nxt
        if step >= 64:
            loss = agent.update(memory.sample(32))
            if step % 50 == 0:
                agent.sync()
                print(step, f"{loss:.4f}")


if __name__ == "__main__":
    main()
