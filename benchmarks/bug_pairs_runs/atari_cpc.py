"""Learn representations of invented Atari episodes with contrastive predictive coding, as the project's script does.

fix: b0a44bd4
depth: live 60
expects: TW752
where: src/cpc.py
stands in: a2c_ppo_acktr (its function init is written out), torchvision, matplotlib, wandb
"""

import tempfile
from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import stand_in


def init(module, weight_init, bias_init, gain=1):
    weight_init(module.weight.data, gain=gain)
    bias_init(module.bias.data)
    return module


stand_in("torchvision.utils")
stand_in("matplotlib.pyplot")
stand_in("a2c_ppo_acktr.envs")
stand_in("a2c_ppo_acktr.utils", init=init)

from src.cpc import CPCTrainer
from src.encoders import NatureCNN


def make_episodes(count):
    episodes = []
    for _ in range(count):
        length = int(torch.randint(12, 20, (1,)))
        frames = torch.randint(0, 40, (length, 1, 210, 160)).float()
        row, column = torch.randint(150, (2,)).tolist()
        for at in range(length):
            frames[at, 0, row : row + 30, (column + 4 * at) % 130 : (column + 4 * at) % 130 + 30] = 220
        episodes.append(frames)
    return episodes


torch.manual_seed(0)
np.random.seed(0)
config = {
    "env_name": "PongNoFrameskip-v4", "obs_space": (1, 210, 160), "num_frame_stack": 1, "batch_size": 4,
    "sequence_length": 8, "steps_start": 0, "steps_end": 6, "steps_step": 2, "gru_size": 32, "gru_layers": 2,
    "lr": 3e-4, "epochs": 3, "patience": 10,
}  # fmt: skip
encoder = NatureCNN(1, SimpleNamespace(feature_size=32, no_downsample=True))
wandb = SimpleNamespace(run=SimpleNamespace(dir=tempfile.mkdtemp()), log=lambda results: None)
CPCTrainer(encoder, config, torch.device("cpu"), wandb).train(make_episodes(6), make_episodes(2))
