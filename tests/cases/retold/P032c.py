"""Semi-supervised handwriting line classifier with a label-conditioned decoder."""
from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor, nn
import torch.nn.functional as F


@dataclass
class Args:
    n_classes: int = 7
    dim: int = 24
    steps: int = 20
    lr: float = 2e-3
    unsup_weight: float = 0.1


class SemiCriterion(nn.Module):
    """Cross entropy where labels exist, entropy minimisation where they do not."""

    def forward(self, logits: Tensor, target: Optional[Tensor] = None) -> Tensor:
        if target is None:
            p = logits.softmax(-1)
            return -(p * logits.log_softmax(-1)).sum(-1).mean()
        return F.cross_entropy(logits, target)


class StrokeNet(nn.Module):
    def __init__(self, args: Args) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, args.dim, batch_first=True)
        self.writer = nn.Embedding(5, args.dim)
        self.fc = nn.Linear(args.dim, args.n_classes)

    def forward(self, strokes: Tensor, writer: Optional[Tensor] = None) -> Tensor:
        _, h = self.rnn(strokes)
        h = h[-1]
        if writer is not None:
            h = h + self.writer(writer % self.writer.num_embeddings)
        return self.fc(h)


def make_batch(args: Args, n: int, templates: Tensor) -> tuple[Tensor, Tensor]:
    y = torch.randint(args.n_classes, (n,))
    return templates[y] + 0.3 * torch.randn(n, 12, 3), y


def train(args: Args) -> StrokeNet:
    torch.manual_seed(11)
    templates = torch.randn(args.n_classes, 12, 3)
    net = StrokeNet(args)
    criterion = SemiCriterion()
    opt = torch.optim.Adam(net.parameters(), lr=args.lr)
    net.train()
    for step in range(args.steps):
        strokes, label = make_batch(args, 32, templates)
        unlabelled, _ = make_batch(args, 64, templates)
        sup = criterion(net(strokes, label))  # BUG
        # FIX: sup = criterion(net(strokes), label)
        unsup = criterion(net(unlabelled))
        loss = sup + args.unsup_weight * unsup
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 5 == 0:
            print(f"{step:3d} sup {sup.item():.3f} unsup {unsup.item():.3f}")
    net.eval()
    with torch.no_grad():
        strokes, label = make_batch(args, 128, templates)
        acc = (net(strokes).argmax(-1) == label).float().mean().item()
    print("accuracy", round(acc, 3))
    return net


if __name__ == "__main__":
    train(Args())
