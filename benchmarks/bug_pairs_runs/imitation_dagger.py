"""Train a policy with DAgger: in each round the expert demonstrates, then the policy is trained on all demonstrations.

fix: 676db5fa
depth: live 60
expects: TW506
where: src/imitation/algorithms/bc.py
stands in: pandas, which reads no table here; what newer gym no longer has
needs: stable_baselines3 0.8.0, gym 0.26
"""

import sys
import tempfile
from importlib.machinery import ModuleSpec

import gym
import numpy as np
import torch
from stand_ins import HERE, stand_in

stand_in("pandas").__spec__ = ModuleSpec("pandas", None)
gym.GoalEnv = gym.Env
sys.path.insert(0, str(HERE / "src"))
from imitation.algorithms import dagger
from imitation.data import rollout
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


def expert_action(obs):
    return np.argmax(Chase.moves @ (obs[2:] - obs[:2]))


np.random.seed(0)
torch.manual_seed(0)
trainer = dagger.DAggerTrainer(
    Chase(), tempfile.mkdtemp(), dagger.LinearBetaSchedule(2), batch_size=16, optimizer_kwargs={"lr": 3e-3}
)
venv = DummyVecEnv([Chase] * 4)
for _ in range(3):
    collector = trainer.get_trajectory_collector()
    for _ in range(8):
        obs, done = collector.reset(), False
        while not done:
            obs, _, done, _ = collector.step(expert_action(obs))
    trainer.extend_and_update(n_epochs=4)
    policy = trainer.bc_trainer.policy
    mean = rollout.mean_return(policy, venv, rollout.min_episodes(10), deterministic_policy=True)
    print(f"round {trainer.round_num}: mean return {mean:.2f}")
trainer.save_policy("policy.pt")
