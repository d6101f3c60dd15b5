"""Run the project's script for LunarLander with the recurrent agent R2D1, on an invented environment, with small sizes.

fix: 4066dbf2
depth: live 60
expects: -
where: program
stands in: gym (an environment of random walks), wandb, cv2, git's name of the commit
needs: addict
"""

import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from stand_ins import HERE, stand_in


class Discrete:
    def __init__(self, n):
        self.n = n

    def sample(self):
        return np.random.randint(self.n)


class Lander:
    """A walk through eight numbers; the reward is how near to zero it stays."""

    action_space, observation_space = Discrete(4), SimpleNamespace(shape=(8,))
    spec = SimpleNamespace(id="LunarLander-v2")

    def seed(self, seed):
        self.random = np.random.default_rng(seed)
        self.moves = self.random.normal(size=(4, 8)) * 0.1

    def reset(self):
        self.state, self.steps = self.random.normal(size=8), 0
        return self.state

    def step(self, action):
        self.state = self.state + self.moves[int(action)] + self.random.normal(size=8) * 0.05
        self.steps += 1
        done = self.steps >= self._max_episode_steps or np.abs(self.state).max() > 4
        return self.state, -float(np.square(self.state).mean()), done, {}

    def close(self):
        pass


stand_in("gym", make=lambda name: Lander())
stand_in("gym.spaces", Discrete=Discrete)
stand_in("wandb")
stand_in("cv2")
subprocess.check_output = lambda command: b"0000000\n"
Path("small_r2d1.py").write_text("""
from configs.lunarlander_v2.r2d1_c51 import agent

agent["hyper_params"].update(
    buffer_size=200, batch_size=8, update_starts_from=16, sequence_size=8, overlap_size=4, train_freq=2
)
agent["learner_cfg"]["head"]["configs"].update(
    rnn_hidden_size=16, burn_in_step=4, hidden_sizes=[32, 16], v_min=-30, v_max=10, atom_size=11
)
""")
script = str(HERE / "run_lunarlander_v2.py")
sys.argv = [script, "--cfg-path", "small_r2d1.py", "--off-render", "--episode-num", "6", "--max-episode-steps", "45"]
sys.argv += ["--interim-test-num", "2", "--save-period", "3"]
runpy.run_path(script, run_name="__main__")
