"""Run the project's own script for TD3 for thirty episodes of a pendulum.

fix: aa4a82b2
depth: live 60
expects: -
where: program
stands in: gym (a pendulum with its old interface)
"""

import runpy

import numpy as np
from stand_ins import HERE, stand_in


class Pendulum:
    def reset(self):
        self.angle, self.speed, self.steps = np.random.uniform(-np.pi, np.pi), np.random.uniform(-1, 1), 0
        return self.observation()

    def observation(self):
        return np.array([np.cos(self.angle), np.sin(self.angle), self.speed])

    def step(self, action):
        torque = float(np.clip(action[0], -2, 2))
        angle = (self.angle + np.pi) % (2 * np.pi) - np.pi
        reward = -(angle**2 + 0.1 * self.speed**2 + 0.001 * torque**2)
        self.speed = float(np.clip(self.speed + 0.05 * (15 * np.sin(self.angle) + 3 * torque), -8, 8))
        self.angle += 0.05 * self.speed
        self.steps += 1
        return self.observation(), reward, self.steps == 200, {}


stand_in("gym", make=lambda name: Pendulum())
runpy.run_path(
    str(HERE / "td3.py"),
    init_globals={"range": lambda episodes: range(min(episodes, 30))},
    run_name="__main__",
)
