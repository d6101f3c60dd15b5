"""Run the project's own script, on an environment in which an arm of points has to reach a goal.

fix: ccd3ad56
depth: live 60
expects: TW665
where: train.py
stands in: gym (the environment), mpi4py (a single process)
"""

import runpy
import sys
from types import SimpleNamespace

import numpy as np
from stand_ins import HERE, stand_in


class Reach:
    action_space = SimpleNamespace(shape=(3,), high=np.ones(3, np.float32))
    _max_episode_steps = 10

    def seed(self, seed):
        self.random = np.random.RandomState(seed)

    def observe(self):
        observation = np.concatenate([self.hand, self.speed])
        return {"observation": observation, "achieved_goal": self.hand.copy(), "desired_goal": self.goal.copy()}

    def reset(self):
        self.hand, self.goal, self.speed = self.random.randn(3), self.random.randn(3), np.zeros(3)
        return self.observe()

    def step(self, action):
        self.speed = 0.2 * action
        self.hand = self.hand + self.speed
        reward = self.compute_reward(self.hand, self.goal, None)
        return self.observe(), reward, False, {"is_success": reward == 0}

    def compute_reward(self, achieved, goal, info):
        return -(np.linalg.norm(achieved - goal, axis=-1) > 0.5).astype(np.float32)


class World:
    def Get_rank(self):
        return 0

    def Get_size(self):
        return 1

    def Bcast(self, values, root):
        pass

    def Allreduce(self, values, result, op):
        result[...] = values

    def allreduce(self, value, op):
        return value


stand_in("gym", make=lambda name: Reach())
stand_in("mpi4py", MPI=SimpleNamespace(COMM_WORLD=World(), SUM="sum"))
script = str(HERE / "train.py")
sys.argv = [script, "--n-epochs", "2", "--n-cycles", "3", "--n-batches", "4", "--batch-size", "32"]
sys.argv += ["--n-test-rollouts", "3", "--buffer-size", "1000"]
runpy.run_path(script, run_name="__main__")
