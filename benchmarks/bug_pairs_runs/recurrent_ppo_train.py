"""Run the project's train.py for recurrent PPO on an environment of random numbers with episodes of different lengths.

fix: 96ca208a
depth: live 60
expects: -
where: program
stands in: gym (an environment of random numbers), gym_minigrid, reprint, docopt
"""

import runpy
import sys

import numpy as np
from stand_ins import HERE, stand_in


class Space:
    shape, n = (4,), 2


class Env:
    observation_space = action_space = Space()

    def __init__(self):
        self.random = np.random.default_rng()

    def reset(self):
        return self.random.uniform(-0.05, 0.05, 4).astype(np.float32)

    def step(self, action):
        obs = self.random.normal(size=4).astype(np.float32)
        return obs, 1.0 + float(action) * obs[0], bool(self.random.random() < 0.06), {}

    def render(self):
        pass

    def close(self):
        pass


stand_in("gym", make=lambda name: Env())
stand_in("gym.spaces")
stand_in("gym_minigrid.wrappers")
stand_in("reprint")
stand_in("docopt", docopt=lambda usage: {"--run-id": "invented", "--cpu": True})
import configs

config = configs.cartpole_masked_config()
config.update(updates=4, n_workers=4, worker_steps=64, hidden_layer_size=32)
configs.cartpole_masked_config = lambda: config
sys.argv = ["train.py", "--cpu"]
runpy.run_path(str(HERE / "train.py"), run_name="__main__")
