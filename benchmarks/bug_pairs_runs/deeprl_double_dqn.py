"""Train double DQN from a replay memory of random transitions.

fix: 16ec0d00
depth: live 8
expects: TW101
where: deep_rl/agent/DQN_agent.py
stands in: gym, baselines, skimage and torchvision, which the package imports; the actor that plays;
  the replay memory, whose source Python has not read since 3.7
"""

from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import HERE, package, stand_in

for name in ("gym", "gym.spaces.box", "gym.spaces.discrete", "skimage.io", "torchvision"):
    stand_in(name)
for name in ("atari_wrappers", "running_mean_std", "vec_env.subproc_vec_env", "vec_env"):
    stand_in(f"baselines.common.{name}")
package("deep_rl", HERE / "deep_rl")
stand_in("deep_rl.component.replay", PrioritizedTransition=type("PrioritizedTransition", (), {}))
from deep_rl.agent.DQN_agent import DQNAgent
from deep_rl.network import FCBody, VanillaNet
from deep_rl.utils import Config, select_device

select_device(-1)


class Agent(DQNAgent):
    def __init__(self, config):
        self.config = config
        self.network, self.target_network = config.network_fn(), config.network_fn()
        self.target_network.load_state_dict(self.network.state_dict())
        self.optimizer = config.optimizer_fn(self.network.parameters())


config = Config()
config.double_q, config.discount = True, 0.99
config.network_fn = lambda: VanillaNet(3, FCBody(4))
config.optimizer_fn = lambda parameters: torch.optim.RMSprop(parameters, 0.001)
config.state_normalizer = lambda state: np.asarray(state, dtype=np.float32)
agent = Agent(config)
for _ in range(8):
    transitions = SimpleNamespace(
        state=np.random.randn(10, 4), next_state=np.random.randn(10, 4), action=np.random.randint(3, size=10),
        reward=np.random.randn(10), mask=(np.random.rand(10) > 0.1).astype(np.int32),
    )  # fmt: skip
    loss = agent.reduce_loss(agent.compute_loss(transitions))
    agent.optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(agent.network.parameters(), 5)
    agent.optimizer.step()
