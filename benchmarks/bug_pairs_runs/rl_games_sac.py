"""Probe an update of the soft actor-critic agent, with the agent's own way to save and to restore.

fix: 07043a3c
depth: probe
expects: TW620
where: program
says: RunningMeanStd
stands in: gym (an environment of random numbers), ray, tensorboardX
"""

from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import stand_in
from torch.utils.tensorboard import SummaryWriter

import trainworthy as tw


class Box:
    def __init__(self, low, high, shape=None, dtype=np.float32):
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.low, self.high = np.full(shape, low), np.full(shape, high)


spaces = stand_in("gym.spaces", Box=Box)
stand_in("ray")
stand_in("tensorboardX", SummaryWriter=SummaryWriter)
envs = SimpleNamespace(register=lambda **kwargs: None)
stand_in("gym", spaces=spaces, wrappers=stand_in("gym.wrappers"), envs=envs)
from rl_games.algos_torch.sac_agent import SACAgent

network = {
    "name": "soft_actor_critic", "separate": True, "space": {"continuous": None},
    "mlp": {"units": [32, 32], "activation": "relu", "initializer": {"name": "default"}},
    "log_std_bounds": [-5, 2],
}  # fmt: skip
config = {
    "env_name": "random", "name": "random", "num_actors": 4, "device": "cpu", "reward_shaper": lambda reward: reward,
    "env_info": {"observation_space": Box(-1.0, 1.0, (6,)), "action_space": Box(-1.0, 1.0, (2,))},
    "num_warmup_steps": 1, "gamma": 0.99, "critic_tau": 0.005, "batch_size": 16, "init_alpha": 1.0,
    "learnable_temperature": True, "replay_buffer_size": 256, "normalize_input": True, "actor_lr": 5e-4,
    "critic_lr": 5e-4, "alpha_lr": 5e-3, "features": {"observer": None},
}  # fmt: skip
agent = SACAgent("random", {"config": config, "network": network, "model": {"name": "soft_actor_critic"}})
agent.vec_env = None
for _ in range(20):
    agent.replay_buffer.add(
        3 + torch.randn(4, 6), torch.rand(4, 2) * 2 - 1, torch.randn(4, 1), 3 + torch.randn(4, 6),
        torch.zeros(4, 1, dtype=torch.bool),
    )  # fmt: skip


def step():
    agent.set_train()
    agent.update(0)


result = tw.probe(step, save=agent.save, load=lambda path: agent.restore(path + ".pth"))
