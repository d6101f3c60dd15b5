"""Train the project's Dreamer by its own sampler and runner, as main_dmc.py does, on pictures of random colours.

fix: 6ddd03f4
depth: live 60
expects: TW353
where: dreamer/algos/dreamer_algo.py
needs: rlpyt (its repository, astooke/rlpyt), gym, pyprind
"""

import numpy as np
import torch
from dreamer.agents.dmc_dreamer_agent import DMCDreamerAgent
from dreamer.algos.dreamer_algo import Dreamer
from dreamer.envs.env import EnvInfo
from dreamer.envs.time_limit import TimeLimit
from dreamer.envs.wrapper import make_wapper
from dreamer.models.distribution import TanhBijector
from rlpyt.envs.base import Env, EnvStep
from rlpyt.runners.minibatch_rl import MinibatchRl
from rlpyt.samplers.collections import TrajInfo
from rlpyt.samplers.serial.sampler import SerialSampler
from rlpyt.spaces.float_box import FloatBox
from rlpyt.spaces.int_box import IntBox
from torch.distributions import constraints

TanhBijector.domain, TanhBijector.codomain = constraints.real, constraints.interval(-1.0, 1.0)  # newer torch asks


class Colours(Env):
    observation_space = IntBox(low=0, high=256, shape=(3, 64, 64), dtype="uint8")
    action_space = FloatBox(low=-1.0, high=1.0, shape=(2,))
    horizon = 100

    def observe(self):
        noise = np.random.randint(-20, 20, (3, 64, 64))
        return (self.colour[:, None, None] + noise).clip(0, 255).astype(np.uint8)

    def reset(self):
        self.colour = np.random.randint(0, 256, 3)
        return self.observe()

    def step(self, action):
        self.colour[:2] = (self.colour[:2] + 40 * np.asarray(action)).clip(0, 255)
        reward = np.array(self.colour[0] / 255 - self.colour[1] / 255, dtype=np.float32)
        done = bool(np.random.rand() < 0.05)
        return EnvStep(self.observe(), reward, done, EnvInfo(np.array(1.0), np.array(0.0), done))


torch.manual_seed(0)
np.random.seed(0)
sampler = SerialSampler(
    EnvCls=make_wapper(Colours, [TimeLimit], [{"duration": 20}]),
    TrajInfoCls=TrajInfo,
    env_kwargs={},
    eval_env_kwargs={},
    batch_T=1,
    batch_B=1,
    max_decorrelation_steps=0,
)
algo = Dreamer(
    batch_size=2, batch_length=6, train_every=10, train_steps=3, prefill=20, horizon=4, replay_size=200,
    log_video=False,
)  # fmt: skip
agent = DMCDreamerAgent(
    train_noise=0.3, eval_noise=0, expl_type="additive_gaussian", expl_min=None, expl_decay=None,
    model_kwargs={"hidden_size": 32, "deterministic_size": 32},
)  # fmt: skip
runner = MinibatchRl(algo=algo, agent=agent, sampler=sampler, n_steps=60, log_interval_steps=20, affinity={})
runner.train()
