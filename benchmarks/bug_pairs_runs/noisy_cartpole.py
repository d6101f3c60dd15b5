"""Train the noisy actor-critic on a cart with a pole, with one worker in this process.

fix: 4c17414b
depth: live 60
expects: -
where: program
stands in: gym and its cart with a pole, plotly, one process in place of six, names that torch has renamed since
"""

import math
from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import stand_in
from torch import nn


class CartPole:
    observation_space = SimpleNamespace(shape=(4,))
    action_space = SimpleNamespace(n=2)

    def seed(self, seed):
        self.random = np.random.RandomState(seed)

    def reset(self):
        self.state = self.random.uniform(-0.05, 0.05, 4)
        return self.state

    def step(self, action):
        x, speed, angle, turn = self.state
        force = 10.0 if int(action) == 1 else -10.0
        push = (force + 0.05 * turn**2 * math.sin(angle)) / 1.1
        bend = (9.8 * math.sin(angle) - math.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / 1.1))
        slide = push - 0.05 * bend * math.cos(angle) / 1.1
        self.state = np.array([x + 0.02 * speed, speed + 0.02 * slide, angle + 0.02 * turn, turn + 0.02 * bend])
        done = abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.2095
        return self.state, 1.0, bool(done), {}

    def close(self):
        pass


stand_in("gym", make=lambda name: CartPole())
stand_in("plotly")
stand_in("plotly.graph_objs")
nn.init.uniform, nn.init.constant = nn.init.uniform_, nn.init.constant_
nn.utils.clip_grad_norm = nn.utils.clip_grad_norm_
multinomial = torch.Tensor.multinomial
torch.Tensor.multinomial = lambda self, count=1: multinomial(self, count)
addcmul_, addcdiv_ = torch.Tensor.addcmul_, torch.Tensor.addcdiv_
torch.Tensor.addcmul_ = lambda self, value, *tensors: addcmul_(self, *tensors, value=value)
torch.Tensor.addcdiv_ = lambda self, value, *tensors: addcdiv_(self, *tensors, value=value)

from model import ActorCritic
from optim import SharedRMSprop
from utils import state_to_tensor

from train import train


class Steps:
    count = 0

    def increment(self):
        self.count += 1

    def value(self):
        return self.count


args = SimpleNamespace(
    seed=123, T_max=2000, t_max=100, max_episode_length=500, hidden_size=32, sigma_init=0.017, discount=0.99,
    reward_clip=False, lr=0.001, no_lr_decay=False, rmsprop_decay=0.99, no_noise=False, entropy_weight=0.0,
    no_time_normalisation=False, max_gradient_norm=40, env="CartPole-v1",
)  # fmt: skip
torch.manual_seed(args.seed)
env = CartPole()
shared_model = ActorCritic(env.observation_space, env.action_space, args.hidden_size, args.sigma_init, args.no_noise)
optimiser = SharedRMSprop(shared_model.parameters(), lr=args.lr, alpha=args.rmsprop_decay)
train(1, args, Steps(), shared_model, optimiser)

shared_model.eval()
shared_model.remove_noise()
env.seed(args.seed)
lengths = []
with torch.no_grad():
    for episode in range(5):
        state, done, steps = env.reset(), False, 0
        h = torch.zeros(1, args.hidden_size), torch.zeros(1, args.hidden_size)
        while not done and steps < args.max_episode_length:
            policy, _, h = shared_model(state_to_tensor(state), h)
            state, _, done, _ = env.step(policy.argmax(1).item())
            steps += 1
        lengths.append(steps)
print("steps before the pole fell:", lengths)
