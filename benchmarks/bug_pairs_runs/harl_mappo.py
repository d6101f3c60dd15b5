"""Run the project's own training script, on an environment of random numbers with continuous actions.

fix: 28af7bd4
depth: live 60
expects: TW101
where: harl/models/base/act.py
stands in: setproctitle, uu (left Python with 3.13), gym's maker of environments
needs: gym, tensorboardX
"""

import runpy
import sys

import gym
import numpy as np
from gym.spaces import Box
from stand_ins import HERE, stand_in


class Walker:
    observation_space, action_space = Box(-np.inf, np.inf, (7,), np.float32), Box(-1, 1, (3,), np.float32)

    def __init__(self, name):
        self.random, self.left = np.random.RandomState(0), 0

    def seed(self, seed):
        self.random = np.random.RandomState(seed)

    def reset(self):
        self.left, self.state = self.random.randint(8, 20), self.random.randn(7).astype(np.float32)
        return self.state

    def step(self, action):
        reward = float(self.state[:3] @ np.clip(action, -1, 1))
        self.left, self.state = self.left - 1, self.random.randn(7).astype(np.float32)
        return self.state, reward, self.left == 0, {}

    def close(self):
        pass


gym.make = Walker
stand_in("setproctitle", setproctitle=lambda title: None)
stand_in("uu", Error=ValueError)
script = str(HERE / "examples/train.py")
sys.path.insert(0, str(HERE))
sys.argv = [script, "--algo", "mappo", "--env", "gym", "--exp_name", "walker", "--scenario", "Walker"]
sys.argv += ["--cuda", "False", "--n_rollout_threads", "1", "--episode_length", "40", "--num_env_steps", "160"]
sys.argv += ["--hidden_sizes", "[16,16]", "--log_interval", "1", "--eval_interval", "2"]
sys.argv += ["--n_eval_rollout_threads", "1", "--eval_episodes", "2", "--torch_threads", "1"]
runpy.run_path(script, run_name="__main__")
