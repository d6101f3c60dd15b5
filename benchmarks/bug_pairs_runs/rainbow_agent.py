"""Take the agent from the project's notebook and train it on an environment of random numbers, as its last cells do.

fix: 85ed7192
depth: live 60
expects: TW101
where: 08_rainbow.py
stands in: marimo (runs the notebook's cells up to the agent), gymnasium, matplotlib
"""

import ast
import inspect
import random
import textwrap
from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import load, stand_in


class App:
    names = {}

    def __init__(self, **kwargs):
        pass

    def cell(self, function=None, **kwargs):
        if function is None:
            return self.cell
        if "DQNAgent" not in self.names:
            values = function(**{name: self.names[name] for name in inspect.signature(function).parameters})
            body = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0].body
            returned = body[-1].value
            if returned is not None:
                self.names.update(zip([name.id for name in returned.elts], values, strict=True))
        return function


class Env:
    observation_space, action_space = SimpleNamespace(shape=(4,)), SimpleNamespace(n=3)
    left = 0

    def reset(self, seed=None):
        self.left, self.state = random.randint(8, 20), np.random.randn(4).astype(np.float32)
        return self.state, {}

    def step(self, action):
        reward = float(self.state[int(action)] > 0)
        self.left, self.state = self.left - 1, np.random.randn(4).astype(np.float32)
        return self.state, reward, self.left == 0, False, {}

    def close(self):
        pass


def ignore(*args, **kwargs):
    pass


output = SimpleNamespace(replace=ignore)
stand_in("marimo", App=App, md=ignore, as_html=ignore, output=output)
stand_in("gymnasium")
pyplot = dict.fromkeys(("close", "figure", "subplot", "title", "plot", "gcf"), ignore)
stand_in("matplotlib", pyplot=stand_in("matplotlib.pyplot", **pyplot))
load("08_rainbow.py", "rainbow")

np.random.seed(777)
random.seed(777)
torch.manual_seed(777)
agent = App.names["DQNAgent"](Env(), memory_size=1000, batch_size=32, target_update=20, seed=777)
agent.train(num_frames=150, plotting_interval=50)
print(len(agent.memory), agent.update_model())
