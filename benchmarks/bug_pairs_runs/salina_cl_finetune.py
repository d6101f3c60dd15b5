"""Fine-tune one policy by PPO over three tasks of random numbers, evaluated after each, as the project's run.py does.

fix: 19e199ee
depth: live 60
expects: -
where: program
stands in: gym, brax, pandas, torchvision, matplotlib and PIL (imported by the project only)
"""

from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import torch
from omegaconf import OmegaConf
from stand_ins import HERE, stand_in

for name in ("gym.utils", "gym", "brax.envs", "brax.envs.to_torch", "torchvision.transforms", "PIL.Image"):
    stand_in(name)
stand_in("matplotlib.pyplot")
stand_in("matplotlib.patches")
pandas = stand_in("pandas", options=SimpleNamespace(mode=SimpleNamespace()))
pandas.__spec__ = ModuleSpec("pandas", None)
import salina.agents.brax
from salina import TAgent, instantiate_class
from salina.agents import EpisodesDone
from salina_cl.core import Task

salina.agents.brax.EpisodesDone = EpisodesDone


class Logger:
    def get_logger(self, prefix):
        return self

    def message(self, text):
        print(text)

    def add_scalar(self, name, value, step):
        print(name, step, value)


class Walker(TAgent):
    """Several walkers whose observations drift with a task's wind; an episode ends after 15 steps."""

    def __init__(self, wind, n_envs=6):
        super().__init__()
        self.wind, self.n_envs = wind, n_envs
        self.register_buffer("place", torch.zeros(1))

    def forward(self, t=0, **kwargs):
        if t == 0:
            self.state, self.age = torch.randn(self.n_envs, 4), torch.randint(0, 8, (self.n_envs,))
            self.total, self.done = torch.zeros(self.n_envs), torch.zeros(self.n_envs, dtype=torch.bool)
            reward = torch.zeros(self.n_envs)
        else:
            action = self.get(("action", t - 1)).detach()
            self.state = torch.where(self.done[:, None], torch.randn(self.n_envs, 4), self.state)
            self.age, self.total = self.age * ~self.done, self.total * ~self.done
            self.state = 0.9 * self.state + self.wind * torch.rand(self.n_envs, 4) + action.repeat(1, 2)
            reward = -self.state.pow(2).mean(1)
            self.age, self.total = self.age + 1, self.total + reward
            self.done = self.age >= 15
        for name, value in {
            "env_obs": self.state, "reward": reward, "done": self.done, "cumulated_reward": self.total,
        }.items():  # fmt: skip
            self.set((f"env/{name}", t), value)


class WindTask(Task):
    def make(self, n_envs=None):
        return Walker(self._env_agent_cfg["wind"])


algorithm = OmegaConf.load(HERE / "salina_cl/configs/algorithm/ppo.yaml")
algorithm.params.update(
    learning_device="cpu", acquisition_device="cpu", n_control_rollouts=0, n_timesteps=20, n_minibatches=8,
    n_envs_per_minibatch=4, n_timesteps_per_minibatch=10, policy_update_delay=2,
)  # fmt: skip
config = OmegaConf.load(HERE / "salina_cl/configs/ppo_finetune_cartpole.yaml")
config = OmegaConf.merge(config, {"model": {"params": {"algorithm": algorithm}}})
model, logger = instantiate_class(config.model), Logger()
tasks = [WindTask({"wind": wind}, [4], [2], at, n_interactions=600) for at, wind in enumerate((0.0, 0.6, -0.9))]
for task in tasks:
    model.train(task, logger)
    print(model.evaluate(tasks, logger))
