"""Train the members of a reward ensemble on preferences, save the ensemble, and load it to predict held-out rewards.

fix: eae4477b
depth: live 60
expects: -
where: program
stands in: pandas and sacred, which are not used here; what newer gym and other versions of stable_baselines3 have
needs: stable_baselines3 0.8.0, gym 0.26
"""

import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec

import gym
import numpy as np
import torch
from stand_ins import HERE, stand_in

for name in ("pandas", "sacred"):
    stand_in(name).__spec__ = ModuleSpec(name, None)
gym.GoalEnv = gym.Env
from stable_baselines3.common import type_aliases

type_aliases.Schedule = Callable
sys.path.insert(0, str(HERE / "src"))
from imitation.algorithms import preference_comparisons
from imitation.data import rollout
from imitation.data.types import TrajectoryWithRew
from imitation.rewards.reward_nets import RewardEnsemble

OBSERVATIONS = gym.spaces.Box(-10, 10, (5,), np.float32)
ACTIONS = gym.spaces.Discrete(3)


def trajectories(number):
    for _ in range(number):
        length = np.random.randint(10, 40)
        obs = np.random.randn(length + 1, 5).astype(np.float32)
        acts = np.random.randint(3, size=length)
        rews = (obs[:-1, 0] - np.abs(obs[:-1, 1]) + 0.5 * acts).astype(np.float32)
        yield TrajectoryWithRew(obs, acts, None, True, rews)


def make_ensemble():
    return RewardEnsemble(OBSERVATIONS, ACTIONS, num_members=3, member_kwargs={"hid_sizes": (32, 32)})


np.random.seed(0)
torch.manual_seed(0)
fragmenter = preference_comparisons.RandomFragmenter(seed=0, warning_threshold=0)
gatherer = preference_comparisons.SyntheticGatherer(seed=0)
pairs = fragmenter(list(trajectories(60)), fragment_length=6, num_pairs=100)
preferences = preference_comparisons.PreferenceDataset()
preferences.push(pairs, gatherer(pairs))

ensemble = make_ensemble()
for member in ensemble.members:
    trainer = preference_comparisons.CrossEntropyRewardTrainer(member, batch_size=16, epochs=4, lr=3e-3)
    trainer.train(preferences)
torch.save(ensemble.state_dict(), "reward_ensemble.pt")

held_out = rollout.flatten_trajectories_with_rew(list(trajectories(8)))
transitions = (held_out.obs, held_out.acts, held_out.next_obs, held_out.dones)
loaded = make_ensemble()
loaded.load_state_dict(torch.load("reward_ensemble.pt"))
loaded.eval()
mean, variance = loaded.reward_moments(*transitions)
print("correlation", np.corrcoef(mean, held_out.rews)[0, 1], "variance", variance.mean())
