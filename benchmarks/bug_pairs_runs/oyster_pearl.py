"""Meta-train PEARL by the project's launcher, on a point robot whose episode ends when it leaves the square.

fix: 062870ec
depth: live 60
expects: -
where: program
stands in: mujoco_py and dateutil (imported by the project only), the list of environments
needs: gym, gtimer
"""

from datetime import timezone

import numpy as np
from stand_ins import HERE, package, stand_in

stand_in("mujoco_py")
stand_in("dateutil.tz", tzlocal=lambda: timezone.utc)
package("rlkit", HERE / "rlkit")
environments = package("rlkit.envs", HERE / "rlkit/envs")
environments.ENVS, environments.register_env = {}, lambda name: lambda made: made
from configs.default import default_config
from launch_experiment import deep_update_dict, experiment
from rlkit.envs.point_robot import PointEnv


class SquareEnv(PointEnv):
    def step(self, action):
        place, reward, _, info = super().step(action)
        return place, reward, bool(np.abs(place).max() > 1.2), info


environments.ENVS["square"] = SquareEnv
changes = {
    "env_name": "square",
    "n_train_tasks": 4,
    "n_eval_tasks": 2,
    "net_size": 32,
    "env_params": {"n_tasks": 6},
    "algo_params": {
        "meta_batch": 3,
        "num_iterations": 2,
        "num_initial_steps": 150,
        "num_tasks_sample": 3,
        "num_steps_prior": 60,
        "num_extra_rl_steps_posterior": 60,
        "num_train_steps_per_itr": 10,
        "num_evals": 1,
        "num_steps_per_eval": 60,
        "batch_size": 32,
        "embedding_batch_size": 16,
        "embedding_mini_batch_size": 16,
        "max_path_length": 30,
    },
    "util_params": {"use_gpu": False, "base_log_dir": "output"},
}
experiment(deep_update_dict(changes, default_config))
