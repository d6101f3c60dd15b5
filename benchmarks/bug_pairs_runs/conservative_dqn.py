"""Train the conservative Q-learning agent on a cart with a pole with the project's script.

fix: 2fd085af
depth: live 60
expects: -
where: program
stands in: gym and its cart with a pole, pybullet_envs, wandb
"""

import math
import os
import runpy
import sys
import tempfile
from types import SimpleNamespace

import numpy as np
from stand_ins import stand_in


class Actions:
    n = 2

    def seed(self, seed):
        self.random = np.random.RandomState(seed)

    def sample(self):
        return self.random.randint(2)


class CartPole:
    observation_space = SimpleNamespace(shape=(4,))
    action_space = Actions()

    def seed(self, seed):
        self.random = np.random.RandomState(seed)

    def reset(self):
        self.state, self.time = self.random.uniform(-0.05, 0.05, 4), 0
        return self.state

    def step(self, action):
        x, speed, angle, turn = self.state
        force = 10.0 if int(action) == 1 else -10.0
        push = (force + 0.05 * turn**2 * math.sin(angle)) / 1.1
        bend = (9.8 * math.sin(angle) - math.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / 1.1))
        slide = push - 0.05 * bend * math.cos(angle) / 1.1
        self.state = np.array([x + 0.02 * speed, speed + 0.02 * slide, angle + 0.02 * turn, turn + 0.02 * bend])
        self.time += 1
        done = abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.2095 or self.time == 200
        return self.state, 1.0, bool(done), {}


class Run:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def ignore(*args, **kwargs):
    pass


stand_in("gym", make=lambda name: CartPole())
stand_in("pybullet_envs")
stand_in("wandb", init=lambda **settings: Run(), watch=ignore, log=ignore, save=ignore)
sys.path.insert(0, os.path.abspath("CQL-DQN"))
script = os.path.abspath("CQL-DQN/train.py")
os.chdir(tempfile.mkdtemp())
sys.argv = ["train.py", "--episodes", "40", "--save_every", "20", "--min_eps", "0.05"]
runpy.run_path(script, {}, "__main__")
