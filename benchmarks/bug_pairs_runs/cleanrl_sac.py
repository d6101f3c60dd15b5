"""Run the project's own script for soft actor-critic, on an environment of random numbers.

fix: 5aaf9c5a
depth: live 24
expects: TW101
where: cleanrl/sac_continuous_action.py
stands in: gym and pybullet_envs (an environment of random numbers), the replay memory of stable_baselines3
"""

import runpy
import sys
from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import HERE, stand_in


class Box:
    def __init__(self, size):
        self.shape, self.low, self.high = (size,), -np.ones(size, np.float32), np.ones(size, np.float32)

    def sample(self):
        return np.random.uniform(-1, 1, self.shape).astype(np.float32)

    def seed(self, seed):
        pass


class Envs:
    num_envs, single_observation_space, single_action_space, action_space = 1, Box(6), Box(3), Box(3)

    def __init__(self, makers):
        pass

    def reset(self):
        return np.random.randn(1, 6).astype(np.float32)

    def step(self, actions):
        return self.reset(), np.random.randn(1).astype(np.float32), np.zeros(1, bool), [{}]

    def close(self):
        pass


class ReplayBuffer:
    def __init__(self, *args, **kwargs):
        self.rows = []

    def add(self, *row):
        self.rows.append(row[:5])

    def sample(self, size):
        rows = [self.rows[i] for i in np.random.randint(len(self.rows), size=size)]
        obs, after, actions, rewards, dones = (
            torch.tensor(np.concatenate([row[i] for row in rows]), dtype=torch.float32) for i in range(5)
        )
        return SimpleNamespace(
            observations=obs, next_observations=after, actions=actions, rewards=rewards.reshape(-1, 1),
            dones=dones.reshape(-1, 1),
        )  # fmt: skip


def strtobool(text):
    return text.lower() in ("y", "yes", "t", "true", "on", "1")


stand_in("distutils.util", strtobool=strtobool)  # left Python with 3.12
stand_in("gym", vector=SimpleNamespace(SyncVectorEnv=Envs), spaces=SimpleNamespace(Box=Box))
stand_in("pybullet_envs")
stand_in("stable_baselines3.common.buffers", ReplayBuffer=ReplayBuffer)
script = str(HERE / "cleanrl/sac_continuous_action.py")
sys.argv = [script, "--learning-starts", "40", "--total-timesteps", "60", "--batch-size", "16", "--cuda", "False"]
runpy.run_path(script, run_name="__main__")
