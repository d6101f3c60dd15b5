"""Train the diffusion vocoder with the project's learner on invented tones and their spectrograms.

fix: 3ca5f5ad
depth: live 60
expects: -
where: program
stands in: torchaudio, the folder of recordings, the log writer
needs: tqdm
"""

import math
import sys
import tempfile

import torch
from stand_ins import stand_in
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, "src")


class SummaryWriter:
    def __init__(self, *args, **kwargs):
        pass

    def add_audio(self, *args, **kwargs):
        pass

    add_image = flush = add_audio

    def add_scalar(self, name, value, step):
        print(f"step {step}: {name} {float(value):.4f}")


stand_in("torch.utils.tensorboard", SummaryWriter=SummaryWriter)

from diffwave.learner import DiffWaveLearner
from diffwave.model import DiffWave
from diffwave.params import AttrDict, params

FRAMES = 10
settings = AttrDict(params)
settings.override({"batch_size": 4, "n_mels": 16, "residual_layers": 4, "residual_channels": 16})
settings.override({"dilation_cycle_length": 4, "learning_rate": 1e-3})


class Tones(Dataset):
    def __init__(self, count):
        time = torch.arange(FRAMES * settings.hop_samples) / settings.sample_rate
        pitch = 120 + 300 * torch.rand(count, 1)
        overtones = [torch.rand(count, 1) * torch.sin(2 * math.pi * k * pitch * time) for k in (1, 2, 3)]
        self.audio = 0.25 * sum(overtones)
        window = torch.hann_window(settings.n_fft)
        power = torch.stft(self.audio, settings.n_fft, settings.hop_samples, window=window, return_complex=True).abs()
        bands = power[:, 1:257, :FRAMES].unflatten(1, (settings.n_mels, -1)).mean(2)
        self.spectrogram = ((20 * bands.clamp(min=1e-5).log10() + 80) / 100).clamp(0, 1)

    def __len__(self):
        return len(self.audio)

    def __getitem__(self, index):
        return {"audio": self.audio[index], "spectrogram": self.spectrogram[index]}


torch.manual_seed(1)
model = DiffWave(settings)
optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
dataset = DataLoader(Tones(64), batch_size=settings.batch_size, shuffle=True)
learner = DiffWaveLearner(tempfile.mkdtemp(), model, dataset, optimizer, settings)
learner.train(max_steps=102)
