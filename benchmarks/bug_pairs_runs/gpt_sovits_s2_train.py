"""Finetune a small SoVITS from a pretrained one by the project's own s2_train.py, on invented recordings.

fix: b5c707eb
depth: live 60
expects: -
where: program
stands in: librosa, ffmpeg (reading by scipy), requests, the pictures of spectrograms, the pretrained weights (freshly
  made), the discriminators of periods (by small ones), two names that one version uses before they are there, and
  the processes that load data and train (this one)
needs: einops
"""

import contextlib
import json
import random
import runpy
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.utils.data
from scipy.io import wavfile
from stand_ins import HERE, stand_in
from torch import nn

LOADER = torch.utils.data.DataLoader


def mel_filters(sr, n_fft, n_mels, fmin, fmax):
    edges = np.linspace(0, 2595 * np.log10(1 + sr / 1400), n_mels + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    frequencies = np.linspace(0, sr / 2, n_fft // 2 + 1)
    up = (frequencies - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - frequencies) / (edges[2:] - edges[1:-1])[:, None]
    return np.maximum(0, np.minimum(up, down)).astype(np.float32)


def load_audio(path, rate):
    return wavfile.read(path)[1].astype(np.float32) / 32768


class SmallDiscriminator(nn.Module):
    def __init__(self, period, use_spectral_norm):
        super().__init__()
        self.hidden, self.post = nn.Conv1d(1, 16, 15, period), nn.Conv1d(16, 1, 3)

    def forward(self, x):
        hidden = nn.functional.leaky_relu(self.hidden(x), 0.1)
        score = self.post(hidden)
        return score.flatten(1), [hidden, score]


def load_data(dataset, collate_fn, batch_sampler, **options):
    return LOADER(dataset, collate_fn=collate_fn, batch_sampler=batch_sampler)


stand_in("librosa")
stand_in("librosa.util")
stand_in("librosa.filters", mel=mel_filters)
stand_in("requests")
stand_in("my_utils", load_audio=load_audio)
sys.path.insert(0, str(HERE / "GPT_SoVITS"))

import module.models
import utils
from text.symbols import symbols

random.seed(0)
torch.manual_seed(0)
rng = np.random.default_rng(0)
folder = Path(tempfile.mkdtemp())
for name in ("4-cnhubert", "5-wav32k", "logs_s2", "weights"):
    (folder / name).mkdir()
lines = []
for number in range(12):
    frames, name = int(rng.integers(34, 56)), f"{number}.wav"
    time = np.arange(frames * 640) / 32000
    wave = 0.3 * np.sin(2 * np.pi * rng.uniform(100, 300) * time) + 0.05 * rng.normal(size=len(time))
    wavfile.write(folder / "5-wav32k" / name, 32000, (wave * 32767).astype(np.int16))
    torch.save(torch.randn(1, 768, frames), folder / "4-cnhubert" / f"{name}.pt")
    lines.append("\t".join([name, " ".join(random.choices(symbols, k=random.randint(4, 20))), "[1]", "text"]))
(folder / "2-name2text.txt").write_text("\n".join(lines), encoding="utf8")

config = json.loads((HERE / "GPT_SoVITS/configs/s2.json").read_text())
config["model"].update(filter_channels=256, n_layers=2, upsample_initial_channel=64)
config["data"]["exp_dir"] = config["s2_ckpt_dir"] = str(folder)
config["train"].update(epochs=2, batch_size=12, fp16_run=False, segment_size=2560, log_interval=4, gpu_numbers="0")
config["train"].update(pretrained_s2G=str(folder / "s2G.pth"), pretrained_s2D="", save_every_epoch=1)
config["train"].update(if_save_latest=1, if_save_every_weights=True)
config.update(name="invented", save_weight_dir=str(folder / "weights"))
(folder / "s2.json").write_text(json.dumps(config))

net = module.models.SynthesizerTrn(1025, 4, n_speakers=300, **config["model"])
codebook = net.quantizer.vq.layers[0]._codebook
codebook.embed.normal_(0, 0.6)
codebook.cluster_size.uniform_(2, 6)
codebook.embed_avg.copy_(codebook.embed * codebook.cluster_size[:, None])
codebook.inited.fill_(1)
torch.save({"weight": net.state_dict()}, folder / "s2G.pth")

module.models.DiscriminatorP = SmallDiscriminator
module.models.contextlib = contextlib
module.models.SynthesizerTrn.freeze_quantizer = config["model"]["freeze_quantizer"]
utils.plot_spectrogram_to_numpy = lambda spectrogram: np.zeros((*spectrogram.shape, 3), np.uint8)
torch.utils.data.DataLoader = load_data
torch.multiprocessing.spawn = lambda run, nprocs, args: run(0, *args)
sys.argv = ["s2_train.py", "--config", str(folder / "s2.json")]
runpy.run_path(str(HERE / "GPT_SoVITS/s2_train.py"), run_name="__main__")
