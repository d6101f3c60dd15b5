from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LitLike(nn.Module):
    """training_step / validation_step / predict_step, as in the well-known framework."""

    def log(self, name: str, value: Tensor) -> None:
        self.__dict__.setdefault("logged", {})[name] = float(value.detach())


class RoadSegmenter(LitLike):
    def __init__(self, n_classes: int = 3, width: int = 12) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU())
        self.decode = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.classify = nn.Conv2d(width, n_classes, 1)

    def forward(self, img: Tensor) -> Tensor:
        return self.classify(self.decode(self.backbone(img)))

    def predict_step(self, img: Tensor) -> Tensor:
        return F.softmax(self(img), dim=1)

    def _shared(self, batch: dict[str, Tensor], stage: str) -> Tensor:
        scores = self.predict_step(batch["img"])  # BUG
        # FIX: scores = self(batch["img"])
        loss = F.cross_entropy(input=scores, target=batch["mask"])  # BUG
        self.log(f"{stage}/loss", loss)
        self.log(f"{stage}/pixel_acc", (scores.argmax(dim=1) == batch["mask"]).float().mean())
        return loss

    def training_step(self, batch: dict[str, Tensor]) -> Tensor:
        return self._shared(batch, "train")

    def validation_step(self, batch: dict[str, Tensor]) -> None:
        self._shared(batch, "val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=5e-3)


def street(n: int, size: int = 16) -> dict[str, Tensor]:
    mask = torch.zeros(n, size, size, dtype=torch.long)
    mask[:, size // 2:] = 1
    left = torch.randint(0, size - 5, (n,))
    for i, c in enumerate(left.tolist()):
        mask[i, size // 2:, c:c + 5] = 2
    colour = torch.eye(3)[mask].movedim(-1, 1)
    return {"img": colour + 0.6 * torch.randn(n, 3, size, size), "mask": mask}


def fit(module: Any, steps: int) -> None:
    opt = module.configure_optimizers()
    for step in range(steps):
        module.train()
        loss = module.training_step(street(8))
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 10 == 9:
            module.eval()
            with torch.no_grad():
                module.validation_step(street(16))
            print(step, {k: round(v, 4) for k, v in module.logged.items()})


torch.manual_seed(0)
fit(RoadSegmenter(), 30)
