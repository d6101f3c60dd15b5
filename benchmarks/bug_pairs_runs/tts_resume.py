"""Train Tacotron for two epochs, then resume from its checkpoint by the project's train.py.

fix: 2816cc2e
depth: live 60
expects: -
where: program
stands in: librosa, tensorboardX, unidecode and the project's plots (by as much as is used), and of the old torch
  data_parallel on a CPU, masks that can be subtracted and optimizers that do not count their updates as changes
"""

import collections
import json
import runpy
import string
import sys
from types import SimpleNamespace

import numpy as np
import torch
from stand_ins import HERE, load, stand_in
from torch import nn, optim
from torch.utils.data import DataLoader


class Writer:
    def __init__(self, folder):
        self.add_scalar = self.add_figure = lambda *args: None


class Adam(optim.Adam):
    def step(self, closure=None):
        parameters = tuple(p for group in self.param_groups for p in group["params"])
        with torch.autograd._unsafe_preserve_version_counter(parameters):
            return super().step(closure)


def subtract_from(self, other):
    return ~self if self.dtype == torch.bool else torch.rsub(self, other)


def load_wave(path, sr):
    return np.random.randn(np.random.randint(500, 1200)).astype(np.float32) / 5, sr


def stft(y, n_fft, hop_length, win_length):
    window = torch.hann_window(win_length)
    return torch.stft(torch.tensor(y), n_fft, hop_length, win_length, window, return_complex=True).numpy()


def mel(sr, n_fft, n_mels):
    return np.random.rand(n_mels, n_fft // 2 + 1) / n_fft


collections.Mapping = collections.abc.Mapping
optim.Adam = Adam
nn.parallel.data_parallel = lambda module, inputs: module(*(values.contiguous() for values in inputs))
torch.Tensor.__rsub__ = subtract_from
stand_in("librosa", core=SimpleNamespace(load=load_wave), stft=stft, filters=SimpleNamespace(mel=mel))
stand_in("tensorboardX", SummaryWriter=Writer)
stand_in("unidecode", unidecode=lambda text: text)
import utils.audio

stand_in("utils.visual", plot_alignment=lambda *args: None, plot_spectrogram=lambda *args: None)
from datasets.LJSpeech import MyDataset
from layers.losses import L1LossMasked
from models.tacotron import Tacotron
from utils.generic_utils import AnnealLR, load_config

config = load_config("config.json") | {"data_path": str(HERE)}
config |= {"num_mels": 20, "num_freq": 129, "sample_rate": 4000, "embedding_size": 32, "epochs": 2, "batch_size": 4}
config |= {"warmup_steps": 20, "num_loader_workers": 0, "save_step": 4, "print_step": 2, "output_path": "output"}
(HERE / "small.json").write_text(json.dumps(config))
with open("metadata.csv", "w") as f:
    for i in range(14):
        words = ["".join(np.random.choice(list(string.ascii_lowercase), 4)) for _ in range(np.random.randint(2, 9))]
        f.write(f"wave{i}|{' '.join(words)}\n")

script = load("train.py")
script.c = c = load_config("small.json")
script.args, script.tb, script.OUT_PATH = SimpleNamespace(restore_step=0), Writer(""), str(HERE)
names = ("sample_rate", "num_mels", "min_level_db", "frame_shift_ms", "frame_length_ms", "ref_level_db", "num_freq")
ap = utils.audio.AudioProcessor(**{name: c[name] for name in (*names, "power", "preemphasis")})
dataset = MyDataset(c.data_path, c.meta_file_train, c.r, c.text_cleaner, ap=ap, batch_group_size=8 * c.batch_size)
loader = DataLoader(dataset, batch_size=c.batch_size, collate_fn=dataset.collate_fn)
model = Tacotron(c.embedding_size, ap.num_freq, c.num_mels, c.r)
optimizer, optimizer_st = Adam(model.parameters(), lr=c.lr), Adam(model.decoder.stopnet.parameters(), lr=c.lr)
scheduler = AnnealLR(optimizer, warmup_steps=c.warmup_steps)
for epoch in range(2):
    script.train(model, L1LossMasked(), nn.BCELoss(), loader, optimizer, optimizer_st, scheduler, ap, epoch)
sys.argv = ["train.py", "--restore_path", "checkpoint_8.pth.tar", "--config_path", "small.json", "--debug", "True"]
runpy.run_path(str(HERE / "train.py"), run_name="__main__")
