"""Run the project's main.py with GAIL, on an environment of random numbers with an invented expert.

fix: 5ad63bec
depth: live 60
expects: -
where: program
stands in: hydra (the configuration is read here), d4rl and gym (an environment of random numbers), the plot
"""

import runpy
from types import SimpleNamespace

import numpy as np
from omegaconf import OmegaConf
from stand_ins import HERE, stand_in


class Box:
    def __init__(self, low, high):
        self.low, self.high, self.shape = low, high, np.shape(low)


class Env:
    """A point that wanders; its episodes end after 20 steps, or earlier by accident."""

    _max_episode_steps = 20

    def __init__(self):
        self.observation_space = Box(np.full(6, -np.inf, np.float32), np.full(6, np.inf, np.float32))
        self.action_space = Box(-np.ones(3, np.float32), np.ones(3, np.float32))

    def get_dataset(self):
        states, noise = np.random.randn(2, 200, 6)
        actions = np.tanh(states[:, :3] + 0.1 * noise[:, :3])
        ends = np.zeros(200)
        ends[19::20] = 1
        return {
            "observations": states, "actions": actions, "next_observations": states + 0.1 * noise,
            "terminals": ends * (np.arange(200) < 100), "timeouts": ends * (np.arange(200) >= 100),
        }  # fmt: skip

    def reset(self):
        self.steps, self.state = 0, np.random.randn(6)
        return self.state

    def step(self, action):
        self.steps += 1
        self.state = 0.9 * self.state + 0.1 * np.random.randn(6) + 0.1 * np.tile(action, 2)
        done = self.steps == self._max_episode_steps or np.random.rand() < 0.03
        return self.state, -float(np.square(self.state).mean()), done, {}

    def seed(self, seed):
        pass

    def close(self):
        pass


def main_with_config(config_path, config_name):
    config = OmegaConf.load(HERE / config_path / f"{config_name}.yaml")
    config = OmegaConf.merge(config, OmegaConf.load(HERE / config_path / "algorithm/GAIL/hopper.yaml"), SMALL)
    return lambda main: lambda: print(main(config))


SMALL = {
    "steps": 120,
    "pretraining": {"iterations": 0},
    "reinforcement": {"model": {"actor": {"hidden_size": 32}, "critic": {"hidden_size": 32}}},
    "imitation": {"subsample": 5},
    "training": {"start": 60, "batch_size": 16},
    "evaluation": {"interval": 40, "episodes": 2, "average_window": 3},
}
spaces = stand_in("gym.spaces", Box=Box)
logger = SimpleNamespace(set_level=lambda level: None)
stand_in("gym", spaces=spaces, logger=logger, make=lambda name: Env())
stand_in("d4rl")
stand_in("hydra", main=main_with_config)
stand_in("matplotlib.pyplot")
stand_in("seaborn", set=lambda style: None)
import utils

utils.lineplot = lambda *args, **kwargs: None
runpy.run_path(str(HERE / "main.py"), run_name="__main__")
