"""Train the neural contextual bandit online, as the project's benchmark does, and score new visitors.

fix: d6a06f18
depth: live 60
expects: -
where: program
stands in: pandas (imported by the project only)
needs: gym
"""

from importlib.machinery import ModuleSpec

import torch
from stand_ins import stand_in

stand_in("pandas").__spec__ = ModuleSpec("pandas", None)
from pearl.action_representation_modules.one_hot_action_representation_module import (
    OneHotActionTensorRepresentationModule,
)
from pearl.pearl_agent import PearlAgent
from pearl.policy_learners.contextual_bandits.neural_bandit import NeuralBandit
from pearl.policy_learners.exploration_modules.contextual_bandits.squarecb_exploration import SquareCBExploration
from pearl.replay_buffers.contextual_bandits.discrete_contextual_bandit_replay_buffer import (
    DiscreteContextualBanditReplayBuffer,
)
from pearl.utils.instantiations.environments.contextual_bandit_environment import ContextualBanditEnvironment
from pearl.utils.instantiations.spaces.discrete_action import DiscreteActionSpace
from torch.utils.data import DataLoader

FEATURES, ARMS = 6, 4


class Shop(ContextualBanditEnvironment):
    """A visitor has random features and likes one of the arms most."""

    def __init__(self):
        self.taste = torch.randn(FEATURES, ARMS)
        self.arms = DiscreteActionSpace([torch.tensor([arm]) for arm in range(ARMS)])

    @property
    def action_space(self):
        return self.arms

    def reset(self, seed=None):
        self.visitor = torch.randn(FEATURES)
        return self.visitor, self.arms

    def get_reward(self, action):
        likes = (self.visitor @ self.taste).softmax(0)
        return float(likes[int(action)] + 0.1 * torch.randn(()))

    def get_regret(self, action):
        likes = (self.visitor @ self.taste).softmax(0)
        return float(likes.max() - likes[int(action)])


shop = Shop()
learner = NeuralBandit(
    feature_dim=FEATURES + ARMS,
    hidden_dims=[32, 16],
    learning_rate=0.01,
    batch_size=16,
    training_rounds=3,
    exploration_module=SquareCBExploration(gamma=50.0),
    action_representation_module=OneHotActionTensorRepresentationModule(max_number_actions=ARMS),
)
agent = PearlAgent(policy_learner=learner, replay_buffer=DiscreteContextualBanditReplayBuffer(100))
regrets = []
for step in range(120):
    observation, arms = shop.reset()
    agent.reset(observation, arms)
    action = agent.act()
    regrets.append(shop.get_regret(action))
    agent.observe(shop.step(action))
    agent.learn()
    if step % 20 == 19:
        print("step", step, "regret", sum(regrets[-20:]) / 20)

with torch.no_grad():
    for visitors in DataLoader(torch.randn(30, FEATURES), batch_size=8):
        print("best arms", learner.get_scores(visitors, shop.arms).argmax(-1).tolist())
