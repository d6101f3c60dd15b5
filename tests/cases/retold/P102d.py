"""SpecAugment on cached log-mel features, phrase classification."""
import copy
from dataclasses import dataclass
from typing import List

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class Utterance:
    uid: str
    mel: np.ndarray  # (frames, mels)
    label: int


class MelDataset(Dataset):
    def __init__(self, utts: List[Utterance], augment: bool, max_f: int = 6, max_t: int = 10):
        self.utts = utts
        self.augment = augment
        self.max_f, self.max_t = max_f, max_t

    def __len__(self):
        return len(self.utts)

    def _spec_augment(self, mel):
        t, f = mel.shape
        fw, tw = (int(torch.randint(1, m + 1, ())) for m in (self.max_f, self.max_t))
        f0 = int(torch.randint(0, f - fw + 1, ()))
        t0 = int(torch.randint(0, t - tw + 1, ()))
        mel[:, f0:f0 + fw] = 0.0
        mel[t0:t0 + tw] = 0.0
        return mel

    def __getitem__(self, i):
        utt = copy.copy(self.utts[i])  # BUG
        # FIX: utt = copy.deepcopy(self.utts[i])
        if self.augment:
            utt.mel = self._spec_augment(utt.mel)  # BUG
        return torch.as_tensor(utt.mel), utt.label


class ConvPool(nn.Module):
    def __init__(self, mels, classes):
        super().__init__()
        self.conv = nn.Conv1d(mels, 32, 5, padding=2)
        self.bn = nn.BatchNorm1d(32)
        self.fc = nn.Linear(64, classes)

    def forward(self, mel):
        h = torch.relu(self.bn(self.conv(mel.mT)))
        return self.fc(torch.cat([h.mean(-1), h.amax(-1)], dim=-1))


def make_utts(n, seed, proto):
    rng = np.random.default_rng(seed)
    utts = []
    for k in range(n):
        c = int(rng.integers(len(proto)))
        mel = (proto[c][None] + rng.normal(0, 1.5, (50, 24))).astype(np.float32)
        utts.append(Utterance(f"utt{k:04d}", mel, c))
    return utts


def main():
    torch.manual_seed(0)
    proto = np.random.default_rng(9).normal(0, 1, (6, 24))
    train = DataLoader(MelDataset(make_utts(240, 0, proto), True), batch_size=24, shuffle=True)
    val = DataLoader(MelDataset(make_utts(60, 1, proto), False), batch_size=60)
    model = ConvPool(24, 6)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(5):
        model.train()
        for mel, y in train:
            opt.zero_grad()
            loss = nn.functional.cross_entropy(model(mel), y)
            loss.backward()
            opt.step()
        model.eval()
        with torch.no_grad():
            acc = np.mean([(model(m).argmax(-1) == y).float().mean().item() for m, y in val])
        print(f"epoch {epoch} loss {loss.item():.3f} val acc {acc:.3f}")


if __name__ == "__main__":
    main()
