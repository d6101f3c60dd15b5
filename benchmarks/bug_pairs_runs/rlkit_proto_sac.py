"""Run the project's example for meta-learning with soft actor-critic on its point mass, in a small size.

fix: 599bad66
depth: live 60
expects: TW752
where: rlkit/torch/sac/sac.py
stands in: gym (its spaces), mujoco's half cheetah, dateutil, the folder /mounts/output, and what torch has changed
  (variables that are no tensors, means of shape (1,))
needs: gtimer
"""

from pathlib import Path

import numpy as np
from stand_ins import load, stand_in


class Env:
    pass


class Box:
    def __init__(self, low, high, shape=None):
        self.shape = shape or np.shape(low)
        self.low, self.high = np.broadcast_to(low, self.shape), np.broadcast_to(high, self.shape)


def fanin_init(tensor):
    bound = 1 / np.sqrt(tensor.size(0))
    return tensor.data.uniform_(-bound, bound)


def open_output(path, mode):
    return open(Path("output") / Path(path).name, mode)


spaces = stand_in("gym.spaces", Box=Box)
stand_in("gym.envs.mujoco")
stand_in("gym", Env=Env, spaces=spaces)
stand_in("click", command=lambda: lambda f: f, argument=lambda *args, **kwargs: lambda f: f)
stand_in("dateutil.tz", tzlocal=lambda: None)
import rlkit.torch.pytorch_util as ptu

fanin_init.__module__ = ptu.__name__
ptu.fanin_init = fanin_init
ptu.get_numpy = lambda tensor: tensor.detach().numpy()
import rlkit.core.rl_algorithm
import rlkit.torch.torch_rl_algorithm
from rlkit.launchers.launcher_util import setup_logger
from rlkit.torch.sac.policies import ProtoTanhGaussianPolicy

rlkit.core.rl_algorithm.open = rlkit.torch.torch_rl_algorithm.open = open_output
ProtoTanhGaussianPolicy.set_eval_z = lambda self, z: setattr(self, "np_z", z.reshape(1))

example = load("examples/sac.py")
variant = {
    "algo_params": {
        "meta_batch": 2,
        "num_epochs": 3,
        "num_steps_per_epoch": 10,
        "num_steps_per_eval": 40,
        "batch_size": 32,
        "max_path_length": 10,
        "discount": 0.99,
        "soft_target_tau": 0.001,
        "policy_lr": 3e-4,
        "qf_lr": 3e-4,
        "vf_lr": 3e-4,
        "replay_buffer_size": 5000,
    },
    "net_size": 32,
}
setup_logger("proto-sac-point-mass-fb", variant=variant, base_log_dir="output")
example.experiment(variant)
