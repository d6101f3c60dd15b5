"""Clone an expert's behavior with a policy of one's own features, and watch its mean return after each epoch.

fix: 204b3191
depth: live 60
expects: TW356
where: policies.py
stands in: pandas, which reads no table here; what newer gym no longer has
needs: stable_baselines3 0.8.0, gym 0.26
"""

import sys
from importlib.machinery import ModuleSpec

import gym
import numpy as np
import torch
from stand_ins import HERE, stand_in
from torch import nn

stand_in("pandas").__spec__ = ModuleSpec("pandas", None)
gym.GoalEnv = gym.Env
sys.path.insert(0, str(HERE / "src"))
from imitation.algorithms import bc
from imitation.data import rollout
from imitation.policies.base import HardCodedPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv


class Chase(gym.Env):
    """Move a point in four directions until it reaches its goal."""

    observation_space = gym.spaces.Box(-10, 10, (4,), np.float32)
    action_space = gym.spaces.Discrete(4)
    moves = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)

    def reset(self):
        self.state = np.random.uniform(-3, 3, 4).astype(np.float32)
        self.left = 20
        return self.state.copy()

    def step(self, action):
        self.state[:2] += 0.5 * self.moves[action]
        self.left -= 1
        distance = float(np.abs(self.state[:2] - self.state[2:]).sum())
        return self.state.copy(), -distance, distance < 0.8 or self.left == 0, {}


class Expert(HardCodedPolicy):
    def _choose_action(self, obs):
        return np.argmax(Chase.moves @ (obs[2:] - obs[:2]))


class Features(BaseFeaturesExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space, features_dim=32)
        self.layers = nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.1))

    def forward(self, observations):
        return self.layers(observations)


np.random.seed(0)
torch.manual_seed(0)
venv = DummyVecEnv([Chase] * 4)
expert = Expert(venv.observation_space, venv.action_space)
demonstrations = rollout.generate_trajectories(expert, venv, rollout.min_episodes(30))
print("expert:", rollout.rollout_stats(demonstrations)["return_mean"])
trainer = bc.BC(
    venv.observation_space,
    venv.action_space,
    policy_kwargs={"features_extractor_class": Features},
    expert_data=rollout.flatten_trajectories(demonstrations),
    optimizer_kwargs={"lr": 3e-3},
)


def evaluate(training):
    policy = training["self"].policy
    with torch.no_grad():
        mean = rollout.mean_return(policy, venv, rollout.min_episodes(10), deterministic_policy=True)
    print(f"epoch {training['epoch_num']}: {mean:.2f}")


trainer.train(n_epochs=4, on_epoch_end=evaluate, log_interval=5)
trainer.save_policy("policy.pt")
