"""Advantage actor-critic on a toy corridor, separate optimisers."""
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributions import Categorical


@dataclass
class Hparams:
    gamma: float = 0.97
    actor_lr: float = 2e-3
    critic_lr: float = 1e-3
    entropy: float = 0.01
    episodes: int = 40
    horizon: int = 25
    seed: int = 0


class Corridor:
    def __init__(self, length=7):
        self.length = length

    def reset(self):
        self.pos = self.length // 2
        return self._obs()

    def _obs(self):
        return nn.functional.one_hot(torch.tensor(self.pos), self.length).float()

    def step(self, action):
        self.pos = max(0, min(self.length - 1, self.pos + (1 if action == 1 else -1)))
        done = self.pos in (0, self.length - 1)
        reward = 1.0 if self.pos == self.length - 1 else (-1.0 if done else -0.02)
        return self._obs(), reward, done


class A2C:
    def __init__(self, n_obs, n_act, hp):
        self.hp = hp
        self.actor = nn.Sequential(nn.Linear(n_obs, 32), nn.Tanh(), nn.Linear(32, n_act))
        self.critic = nn.Sequential(nn.Linear(n_obs, 32), nn.Tanh(), nn.Linear(32, 1))
        self.actor_opt = torch.optim.Adam(self.actor.parameters(), lr=hp.actor_lr)
        self.critic_opt = torch.optim.SGD(self.critic.parameters(), lr=hp.critic_lr, momentum=0.5)

    @torch.no_grad()
    def act(self, obs):
        return Categorical(logits=self.actor(obs)).sample().item()

    def returns(self, rewards):
        out, g = [], 0.0
        for r in reversed(rewards):
            g = r + self.hp.gamma * g
            out.append(g)
        return torch.tensor(out[::-1])

    def learn(self, obs, actions, rewards):
        obs, actions, target = torch.stack(obs), torch.tensor(actions), self.returns(rewards)
        values = self.critic(obs).squeeze(-1)
        critic_loss = nn.functional.smooth_l1_loss(values, target)
        # FIX+: self.critic_opt.zero_grad()
        critic_loss.backward()  # BUG
        self.critic_opt.step()  # BUG

        advantage = target - values.detach()
        dist = Categorical(logits=self.actor(obs))
        actor_loss = -(dist.log_prob(actions) * advantage).mean() - self.hp.entropy * dist.entropy().mean()
        self.actor_opt.zero_grad()
        actor_loss.backward()
        self.actor_opt.step()
        return critic_loss.item(), actor_loss.item()


def main(hp=Hparams()):
    torch.manual_seed(hp.seed)
    env = Corridor()
    agent = A2C(env.length, 2, hp)
    for ep in range(hp.episodes):
        obs, done = env.reset(), False
        seen, acts, rews = [], [], []
        while not done and len(rews) < hp.horizon:
            a = agent.act(obs)
            seen.append(obs)
            acts.append(a)
            obs, r, done = env.step(a)
            rews.append(r)
        c, a = agent.learn(seen, acts, rews)
        if ep % 10 == 9:
            print(f"ep {ep + 1} return {sum(rews):+.2f} critic {c:.3f} actor {a:.3f}")


if __name__ == "__main__":
    main()
