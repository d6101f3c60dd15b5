"""WaveGlow and Tacotron 2 of DeepLearningExamples, as Lambda ran them in 2020; see ``memory_programs.py``."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import memory_legacy as legacy
from benchmarks.memory_legacy import Precision, Trainer
from benchmarks.profile_other import Tacotron2

WAVEGLOW_STEPS = 3
# Letters and frames of a usual and of the longest batch of LJSpeech, padded; the longest does not come first.
TACOTRON_BATCHES = ((165, 820), (187, 870))
_SAMPLES, _HOP = 8000, 256


def _normed(conv: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the script's own form: the weight is computed before each call
        normed: nn.Module = nn.utils.weight_norm(conv)
    return normed


class WaveNet(nn.Module):
    """The transformation inside a flow: dilated convolutions with a gate, weights normalised."""

    def __init__(self, width: int, channels: int = 512, layers: int = 8) -> None:
        super().__init__()
        self.channels = channels
        self.start, self.end = _normed(nn.Conv1d(width, channels, 1)), nn.Conv1d(channels, 2 * width, 1)
        self.dilated = nn.ModuleList(
            _normed(nn.Conv1d(channels, 2 * channels, 3, dilation=2**i, padding=2**i)) for i in range(layers)
        )
        self.condition = nn.ModuleList(_normed(nn.Conv1d(640, 2 * channels, 1)) for _ in range(layers))
        self.rest = nn.ModuleList(
            _normed(nn.Conv1d(channels, 2 * channels if i < layers - 1 else channels, 1)) for i in range(layers)
        )

    def forward(self, x: Tensor, spread: Tensor) -> Tensor:
        """Map (batch, width, time) to scale and bias; names of the loop point to its last results."""
        x = self.start(x.contiguous())
        output: Any = None
        for i, (dilated, condition, rest) in enumerate(zip(self.dilated, self.condition, self.rest, strict=True)):
            acts = legacy.gate(dilated(x), condition(spread.contiguous()), self.channels)
            both = rest(acts)
            skipped = both
            if i < len(self.rest) - 1:
                x = both[:, : self.channels] + x
                skipped = both[:, self.channels :]
            output = skipped if output is None else skipped + output
        result: Tensor = self.end(output)
        return result


class WaveGlow(nn.Module):
    """WaveGlow: 12 flows over groups of 8 samples."""

    def __init__(self, flows: int = 12) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose1d(80, 80, 1024, stride=_HOP)
        self.inverse, self.nets = nn.ModuleList(), nn.ModuleList()
        width = 8
        for k in range(flows):
            width -= 2 if k % 4 == 0 and k > 0 else 0
            self.inverse.append(nn.Conv1d(width, width, 1, bias=False))
            self.nets.append(WaveNet(width // 2))

    def forward(self, mels: Tensor, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return what the flows make of (batch, 80, frames) mels and (batch, samples) audio, and their scales."""
        spread = self.upsample(mels)[:, :, : audio.shape[1]].unfold(2, 8, 8).permute(0, 2, 1, 3)
        spread = spread.contiguous().view(audio.shape[0], -1, 640).permute(0, 2, 1)
        x = audio.unfold(1, 8, 8).permute(0, 2, 1)
        outs, scales = [], []
        for k, (inverse, net) in enumerate(zip(self.inverse, self.nets, strict=True)):
            if k % 4 == 0 and k > 0:
                outs.append(x[:, :2])
                x = x[:, 2:]
            x = inverse(x.contiguous())
            first, second = x.chunk(2, dim=1)
            bias, scale = net(first, spread).chunk(2, dim=1)
            second = torch.exp(scale) * second + bias
            scales.append(scale)
            x = torch.cat((first, second), dim=1)
        return torch.cat([*outs, x], dim=1), scales


def waveglow(batch: int, precision: Precision) -> None:
    """Train WaveGlow; the names of a step, and what TorchScript keeps for them, last until the next rebinds them."""
    module = WaveGlow().to("cuda").train()
    trainer = Trainer(module, legacy.adam, precision=precision)
    for _ in range(WAVEGLOW_STEPS):
        trainer.zero_grad()
        mels = torch.zeros(batch, 80, _SAMPLES // _HOP + 1, device="cuda")
        audio = torch.zeros(batch, _SAMPLES, device="cuda")
        with trainer.autocast():
            made, scales = module(mels, audio)
        made = made.float()
        loss = (made * made).sum() - torch.stack([scale.float().sum() for scale in scales]).sum()
        trainer.backward(loss)
        trainer.step()


class LegacyTacotron2(Tacotron2):
    """Tacotron 2 with ReLU and softmax that keep their inputs."""

    def forward(self, text: Tensor, mels: Tensor) -> Tensor:
        """Return the loss of (batch, letters) text and (batch, 80, frames) mels."""
        with legacy.in_place_of_functional():
            return super().forward(text, mels)


def tacotron2(batch: int, precision: Precision) -> None:
    """Train Tacotron 2 on a usual batch and on the longest."""
    module = LegacyTacotron2().to("cuda").train()
    trainer = Trainer(module, legacy.adam, precision=precision)
    for letters, frames in TACOTRON_BATCHES:
        trainer.zero_grad()
        text = torch.zeros(batch, letters, dtype=torch.long, device="cuda")
        mels = torch.zeros(batch, 80, frames, device="cuda")
        with trainer.autocast():
            loss = module(text, mels)
        trainer.backward(loss)
        trainer.step()
