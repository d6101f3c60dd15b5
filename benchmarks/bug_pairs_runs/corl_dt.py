"""Run the project's script for the decision transformer, on an environment and a data set of random numbers.

fix: ef80957e
depth: live 60
expects: -
where: program
stands in: gym and d4rl (an environment of random numbers and its data set of episodes), wandb
needs: pyrallis, typing_inspect
"""

import runpy
import sys
from types import SimpleNamespace

import numpy as np
from stand_ins import HERE, stand_in


class Space:
    def __init__(self, size):
        self.shape = (size,)

    def seed(self, seed):
        pass


class Walker:
    observation_space, action_space = Space(7), Space(3)

    def seed(self, seed):
        self.random = np.random.default_rng(seed)

    def reset(self):
        self.left = self.random.integers(10, 50)
        return self.random.normal(size=7)

    def step(self, action):
        self.left -= 1
        return self.random.normal(size=7), float(1 - np.square(action).mean()), self.left == 0, {}

    def get_dataset(self):
        random = np.random.default_rng(1)
        ends = np.cumsum(random.integers(6, 50, size=30)) - 1
        size = ends[-1] + 1
        last = np.isin(np.arange(size), ends)
        failed = random.random(size) < 0.7
        return {
            "observations": random.normal(1.0, 2.0, size=(size, 7)).astype(np.float32),
            "actions": random.uniform(-1, 1, size=(size, 3)).astype(np.float32),
            "rewards": random.random(size).astype(np.float32),
            "terminals": last & failed,
            "timeouts": last & ~failed,
        }

    def get_normalized_score(self, returns):
        return returns / 50


class TransformObservation:
    def __init__(self, env, change):
        self.env, self.change = env, change

    def __getattr__(self, name):
        return getattr(self.env, name)

    def reset(self):
        return self.change(self.env.reset())

    def step(self, action):
        state, reward, done, info = self.env.step(action)
        return self.change(state), reward, done, info


class TransformReward(TransformObservation):
    def reset(self):
        return self.env.reset()

    def step(self, action):
        state, reward, done, info = self.env.step(action)
        return state, self.change(reward), done, info


wrappers = SimpleNamespace(TransformObservation=TransformObservation, TransformReward=TransformReward)
stand_in("gym", make=lambda name: Walker(), wrappers=wrappers)
stand_in("d4rl")
run = SimpleNamespace(save=lambda: None)
stand_in("wandb", init=lambda **options: None, log=lambda values, step: print(step, values), run=run)
script = str(HERE / "algorithms/dt.py")
options = {
    "env_name": "walker2d-medium-v2", "device": "cpu", "num_workers": 0, "embedding_dim": 32, "num_layers": 2,
    "episode_len": 50, "batch_size": 16, "update_steps": 40, "warmup_steps": 10, "eval_every": 20,
    "eval_episodes": 2, "target_returns": "[30.0, 15.0]", "checkpoints_path": "checkpoints",
}  # fmt: skip
sys.argv = [script] + [f"--{name}={value}" for name, value in options.items()]
runpy.run_path(script, run_name="__main__")
