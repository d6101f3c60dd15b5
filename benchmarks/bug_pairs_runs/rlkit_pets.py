"""Run the project's example for probabilistic ensembles (PETS) on a small environment, in a small size.

fix: 941111e0
depth: live 60
expects: TW752
where: rlkit/torch/PETS/pets.py
stands in: gym (its spaces, and a car between two hills as environment), dateutil
needs: gtimer
"""

import numpy as np
from stand_ins import load, stand_in


class Env:
    pass


class Box:
    def __init__(self, low, high):
        self.low, self.high = np.asarray(low, np.float32), np.asarray(high, np.float32)
        self.shape = self.low.shape


class Car(Env):
    observation_space, action_space = Box([-1.2, -0.07], [0.6, 0.07]), Box([-1], [1])

    def reset(self):
        self.state = np.array([np.random.uniform(-0.6, -0.4), 0])
        return self.state.copy()

    def step(self, action):
        place, speed = self.state
        speed = np.clip(speed + 0.0015 * action[0] - 0.0025 * np.cos(3 * place), -0.07, 0.07)
        place = np.clip(place + speed, -1.2, 0.6)
        self.state = np.array([place, speed])
        done = bool(place >= 0.45)
        return self.state.copy(), 100.0 * done - 0.1 * action[0] ** 2, done, {}


spaces = stand_in("gym.spaces", Box=Box)
stand_in("gym", Env=Env, spaces=spaces, make=lambda name: Car())
stand_in("dateutil.tz", tzlocal=lambda: None)
import rlkit.torch.pytorch_util as ptu
from rlkit.launchers.launcher_util import setup_logger

example = load("examples/pets.py")
ptu.set_gpu_mode(False)
variant = {
    "policy": {
        "num_particles": 6,
        "cem_horizon": 4,
        "cem_iters": 2,
        "cem_popsize": 16,
        "cem_num_elites": 4,
        "sampling_strategy": "TS1",
    },
    "model": {"num_bootstrap": 3, "hidden_sizes": [32, 32]},
    "replay_buffer_size": 2000,
    "algorithm_kwargs": {
        "num_epochs": 3,
        "num_eval_steps_per_epoch": 40,
        "num_trains_per_train_loop": 30,
        "num_expl_steps_per_train_loop": 50,
        "min_num_steps_before_training": 50,
        "max_path_length": 20,
        "batch_size": 32,
    },
    "lr": 0.001,
}
setup_logger("pets", base_log_dir="output")
example.experiment(variant)
