"""Run the project's training script for a small Parallel WaveGAN on invented voices, with evaluation every few steps.

fix: 8c03abbf
depth: live 60
expects: TW703
where: parallel_wavegan/bin/train.py
stands in: matplotlib, soundfile, h5py (not used for the format npy), tensorboardX (torch's), the old form of torch.stft
"""

import runpy
import sys
import tempfile
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import torch
import yaml
from stand_ins import stand_in
from torch.utils.tensorboard import SummaryWriter

stft = torch.stft
torch.stft = lambda *args, **kwargs: torch.view_as_real(stft(*args, return_complex=True, **kwargs))
stand_in("matplotlib", __spec__=ModuleSpec("matplotlib", None))
stand_in("matplotlib.pyplot", __spec__=ModuleSpec("matplotlib.pyplot", None))
stand_in("soundfile", __spec__=ModuleSpec("soundfile", None))
stand_in("h5py", __spec__=ModuleSpec("h5py", None))
stand_in("tensorboardX", SummaryWriter=SummaryWriter)


def write_voices(folder, count):
    for voice in range(count):
        frames = int(torch.randint(60, 90, (1,)))
        features = torch.randn(frames, 8).cumsum(0) * 0.1
        pitch = (0.05 + 0.02 * features[:, :1].sigmoid()).repeat_interleave(16, 0).flatten()
        wave = torch.sin(2 * torch.pi * pitch.cumsum(0)) * 0.5 + torch.randn(frames * 16) * 0.01
        np.save(folder / f"voice{voice}-wave.npy", wave.numpy())
        np.save(folder / f"voice{voice}-feats.npy", features.numpy())


np.random.seed(0)
torch.manual_seed(0)
top = Path(tempfile.mkdtemp())
for name, count in (("train", 24), ("dev", 8)):
    (top / name).mkdir()
    write_voices(top / name, count)
config = {
    "sampling_rate": 8000, "hop_size": 16, "format": "npy", "remove_short_samples": True, "batch_max_steps": 512,
    "batch_size": 4, "num_workers": 0, "pin_memory": False, "lambda_adv": 4.0, "generator_grad_norm": 10,
    "discriminator_grad_norm": 1, "discriminator_train_start_steps": 6, "train_max_steps": 18, "save_interval_steps": 18,
    "eval_interval_steps": 6, "log_interval_steps": 3, "num_save_intermediate_results": 1,
    "generator_params": {
        "layers": 6, "stacks": 2, "residual_channels": 16, "gate_channels": 32, "skip_channels": 16, "aux_channels": 8,
        "aux_context_window": 2, "dropout": 0.0, "upsample_params": {"upsample_scales": [4, 4]},
    },
    "discriminator_params": {"layers": 4, "conv_channels": 16},
    "stft_loss_params": {"fft_sizes": [128, 256], "hop_sizes": [16, 32], "win_lengths": [64, 128]},
    "generator_optimizer_params": {"lr": 1e-3, "eps": 1e-6, "weight_decay": 0.0},
    "discriminator_optimizer_params": {"lr": 5e-4, "eps": 1e-6, "weight_decay": 0.0},
    "generator_scheduler_params": {"step_size": 12, "gamma": 0.5},
    "discriminator_scheduler_params": {"step_size": 12, "gamma": 0.5},
}  # fmt: skip
(top / "config.yml").write_text(yaml.dump(config))
sys.argv = ["train.py", "--train-dumpdir", str(top / "train"), "--dev-dumpdir", str(top / "dev")]
sys.argv += ["--outdir", str(top / "exp"), "--config", str(top / "config.yml")]
runpy.run_path("parallel_wavegan/bin/train.py", run_name="__main__")
