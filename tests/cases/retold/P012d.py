from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True)
class Config:
    n: int = 256
    height: int = 24
    width: int = 32
    batch: int = 32
    lr: float = 2e-3
    epochs: int = 2


class StripeImages(Dataset[tuple[Tensor, int]]):
    """HWC uint8 pictures as cv2.imread would give them."""

    def __init__(self, cfg: Config, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(0, 3, cfg.n)
        self.images = rng.integers(0, 120, (cfg.n, cfg.height, cfg.width, 3), dtype=np.uint8)
        for img, c in zip(self.images, self.labels):
            img[..., c] += 80
            img[4:8, :, 2 - c] += 50
        self.mean = np.array([0.35, 0.35, 0.35], dtype=np.float32).reshape(3, 1, 1)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        img = self.images[i][:, :, ::-1]  # BGR -> RGB
        h, w, c = img.shape
        chw = np.reshape(img, (c, h, w)).astype(np.float32) / 255.0  # BUG
        # FIX: chw = np.moveaxis(img, -1, 0).astype(np.float32) / 255.0
        return torch.from_numpy((chw - self.mean) / 0.25), int(self.labels[i])


def build_model() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 3),
    )


@torch.inference_mode()
def accuracy(model: nn.Module, loader: DataLoader) -> float:
    model.eval()
    hits = sum((model(x).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def main(cfg: Config = Config()) -> None:
    torch.manual_seed(0)
    train = DataLoader(StripeImages(cfg, 1), cfg.batch, shuffle=True)
    val = DataLoader(StripeImages(cfg, 2), cfg.batch)
    model = build_model()
    optim = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
    criterion = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(cfg.epochs):
        model.train()
        for x, y in train:
            optim.zero_grad(set_to_none=True)
            loss = criterion(model(x), y)
            loss.backward()
            optim.step()
        print(f"[{epoch}] loss {loss.item():.3f} acc {accuracy(model, val):.3f}")


if __name__ == "__main__":
    main()
