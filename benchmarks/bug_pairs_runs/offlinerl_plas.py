"""Train the project's offline algorithm PLAS on recorded random transitions.

fix: db2dea02
depth: live 60
expects: TW351
where: offlinerl/algo/modelfree/plas.py
stands in: loguru, aim (the logging of experiments)
"""

import os
from types import SimpleNamespace

import numpy as np
from stand_ins import load, stand_in


class Logger:
    def info(self, text, *values):
        print(text.format(*values))


class Session:
    def __init__(self, repo, experiment, flush_frequency):
        self.repo = SimpleNamespace(index_path=repo)

    def set_params(self, params, name):
        pass

    def track(self, value, name, epoch):
        pass


stand_in("loguru", logger=Logger())
stand_in("aim", Session=Session)
config = load("offlinerl/config/algo/plas_config.py")
parse_config = load("offlinerl/utils/config.py").parse_config
plas = load("offlinerl/algo/modelfree/plas.py")
SampleBatch = load("offlinerl/utils/data.py").SampleBatch

os.makedirs("aim", exist_ok=True)
args = parse_config(config)
args.update(
    aim_path="aim", exp_name="plas", obs_shape=11, action_shape=3, max_action=1.0, device="cpu", vae_iterations=20,
    vae_hidden_size=64, vae_batch_size=32, actor_iterations=30, actor_batch_size=32, hidden_layer_size=32,
)  # fmt: skip
count = 500
obs = np.random.randn(count + 1, 11)
act = np.random.uniform(-1, 1, (count, 3))
buffer = SampleBatch(
    obs=obs[:-1],
    obs_next=obs[1:],
    act=act,
    rew=(obs[:-1, :1] * act[:, :1] + 0.1 * np.random.randn(count, 1)),
    done=(np.random.rand(count, 1) < 0.02).astype(np.float64),
)
trainer = plas.AlgoTrainer(plas.algo_init(args), args)
trainer.train(buffer, buffer)
policy = trainer.get_policy()
print(policy.get_action(obs[:5].astype(np.float32)))
