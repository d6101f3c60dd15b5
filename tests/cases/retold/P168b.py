from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class Snapshot:
    score: float = -1.0
    epoch: int = -1
    params: dict[str, Tensor] = field(default_factory=dict)


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(-1) == y).float().mean().item()


def train_epoch(model: nn.Module, opt: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    model.train()
    for idx in torch.randperm(x.size(0)).split(50):
        opt.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(model(x[idx]), y[idx]).backward()
        opt.step()


def main() -> None:
    torch.manual_seed(21)
    vocab, classes = 64, 4
    ids = torch.randint(vocab, (300, 12))
    y = ids[:, 0] % classes
    noisy = torch.where(torch.rand(300) < 0.4, torch.randint(classes, (300,)), y)
    model = nn.Sequential(nn.Embedding(vocab, 32), nn.Flatten(), nn.Linear(12 * 32, classes))
    opt = torch.optim.AdamW(model.parameters(), lr=5e-3)
    best = Snapshot()
    template = copy.deepcopy(model)     # used for the final report only
    for epoch in range(8):
        train_epoch(model, opt, ids[:200], noisy[:200])
        score = accuracy(model, ids[200:], y[200:])
        if score > best.score:
            best = Snapshot(score, epoch, copy.copy(model.state_dict()))  # BUG
            # FIX: best = Snapshot(score, epoch, copy.deepcopy(model.state_dict()))
    template.load_state_dict(best.params)
    print(f"{best.epoch}: recorded {best.score:.3f}")
    print(f"reloaded {accuracy(template, ids[200:], y[200:]):.3f}")


if __name__ == "__main__":
    main()
