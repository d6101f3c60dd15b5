"""Train the deep Q-learning agent on an invented screen game with the loop of its video.

fix: 6c2ae92f
depth: live 60
expects: -
where: program
stands in: the Atari game; the array of unlike things that numpy made without dtype=object
"""

import sys
from types import SimpleNamespace

import numpy as np
import torch

sys.path.insert(0, "ReinforcementLearning/DeepQLearning")
import torch_deep_q_model

torch_deep_q_model.np = SimpleNamespace(
    **{**vars(np), "array": lambda rows: np.array(rows, dtype=object), "random": np.random}
)


class Screen:
    """A cannon at the bottom has to stand below the thing that moves at the top."""

    def reset(self):
        self.cannon, self.thing, self.time = 47, np.random.randint(10, 85), 0
        return self.draw()

    def draw(self):
        screen = np.zeros((185, 95), dtype=np.float32)
        screen[5:20, max(self.thing - 5, 0) : self.thing + 5] = 1.0
        screen[170:185, max(self.cannon - 5, 0) : self.cannon + 5] = 1.0
        return screen

    def step(self, action):
        self.time += 1
        self.cannon = int(np.clip(self.cannon + (0, 0, 8, -8, 8, -8)[action], 5, 90))
        self.thing = int(np.clip(self.thing + np.random.randint(-4, 5), 5, 90))
        shot = action in (1, 4, 5) and abs(self.cannon - self.thing) < 10
        return self.draw(), float(shot), self.time == 15


torch.manual_seed(1)
np.random.seed(1)
env = Screen()
agent = torch_deep_q_model.Agent(gamma=0.95, epsilon=1.0, alpha=3e-4, maxMemorySize=60, replace=None)
while agent.memCntr < agent.memSize:
    observation, done = env.reset(), False
    while not done:
        action = int(np.random.choice(agent.actionSpace))
        observation_, reward, done = env.step(action)
        agent.storeTransition(observation, action, reward, observation_)
        observation = observation_

batch_size = 8
for game in range(2):
    score, done = 0.0, False
    observation = env.reset()
    frames = [observation]
    last_action = 0
    while not done:
        action = agent.chooseAction(frames) if len(frames) == 3 else last_action
        frames = frames[-2:] if len(frames) == 3 else frames
        observation_, reward, done = env.step(action)
        agent.storeTransition(observation, action, reward, observation_)
        observation, last_action = observation_, action
        frames.append(observation)
        score += reward
        agent.learn(batch_size)
    print(f"game {game}: epsilon {agent.EPSILON:.3f} score {score}")
