"""Train the TD-MPC agent on episodes of an invented point that has to be moved to the middle, and let it plan.

fix: b8e945ed
depth: live 60
expects: TW101
where: src/algorithm/tdmpc.py
stands in: the simulator; .cuda() keeps tensors on the CPU
"""

import sys
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

sys.path.insert(0, "src")
torch.Tensor.cuda = nn.Module.cuda = lambda self, *args: self

from algorithm.helper import Episode, ReplayBuffer
from algorithm.tdmpc import TDMPC


class Point:
    """A point with a velocity on a plane; the nearer the middle, the higher the reward."""

    def reset(self):
        self.state = np.concatenate([np.random.uniform(-1, 1, 2), np.zeros(2)]).astype(np.float32)
        return self.state

    def step(self, action):
        self.state[2:] = 0.8 * self.state[2:] + 0.2 * np.asarray(action)
        self.state[:2] = np.clip(self.state[:2] + 0.2 * self.state[2:], -1.5, 1.5)
        return self.state, float(np.exp(-3 * np.square(self.state[:2]).sum()))


torch.manual_seed(1)
np.random.seed(1)
cfg = SimpleNamespace(
    modality="state", obs_shape=(4,), action_dim=2, device="cpu", discount=0.97, episode_length=25, train_steps=300,
    iterations=3, num_samples=32, num_elites=8, mixture_coef=0.1, min_std=0.05, temperature=0.5, momentum=0.1,
    batch_size=32, max_buffer_size=1000, horizon=3, reward_coef=0.5, value_coef=0.1, consistency_coef=2, rho=0.5,
    lr=1e-3, std_schedule="linear(0.5, 0.05, 150)", horizon_schedule="linear(1, 3, 150)", per_alpha=0.6, per_beta=0.4,
    grad_clip_norm=10, seed_steps=100, update_freq=2, tau=0.01, enc_dim=32, mlp_dim=32, latent_dim=8,
)  # fmt: skip
env, agent, buffer = Point(), TDMPC(cfg), ReplayBuffer(cfg)
agent.device = torch.device("cpu")


def play(step, eval_mode=False):
    obs = env.reset()
    episode = Episode(cfg, obs)
    for t in range(cfg.episode_length):
        action = agent.plan(obs, eval_mode=eval_mode, step=step, t0=t == 0).clamp(-1, 1)
        obs, reward = env.step(action.numpy())
        episode += (obs, action, reward, t + 1 == cfg.episode_length)
    return episode


for step in range(0, cfg.train_steps, cfg.episode_length):
    buffer += play(step)
    if step >= cfg.seed_steps:
        updates = cfg.seed_steps if step == cfg.seed_steps else cfg.episode_length
        metrics = [agent.update(buffer, step + i) for i in range(updates)]
        print(step, {name: round(value, 4) for name, value in metrics[-1].items()})
rewards = [play(cfg.train_steps, eval_mode=True).cumulative_reward for _ in range(3)]
print("evaluation", np.mean(rewards))
