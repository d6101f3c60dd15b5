from __future__ import annotations

import os
from typing import Iterator

import torch
from torch import Tensor, nn

os.environ.setdefault("WORLD_SIZE", "1")
world_size = int(os.environ["WORLD_SIZE"])


class TrainingArguments:
    def __init__(self, per_device_batch: int, num_epochs: int, lr: float) -> None:
        self.per_device_batch = per_device_batch
        self.num_epochs = num_epochs
        self.lr = lr

    def num_training_steps(self, n_examples: int) -> int:
        steps = n_examples // (self.per_device_batch * world_size)  # BUG
        # FIX: steps = self.num_epochs * (n_examples // (self.per_device_batch * world_size))
        return steps


class HFStyleTrainer:
    def __init__(self, model: nn.Module, args: TrainingArguments, data: tuple[Tensor, Tensor]) -> None:
        self.model, self.args, self.data = model, args, data
        self.total = args.num_training_steps(len(data[0]))
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
        self.lr_scheduler = torch.optim.lr_scheduler.LinearLR(self.optimizer, 1.0, 0.0, total_iters=self.total)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        b = self.args.per_device_batch
        order = torch.randperm(len(self.data[0]))
        for chunk in order.split(b):
            if len(chunk) == b:
                yield self.data[0][chunk], self.data[1][chunk]

    def train(self) -> None:
        global_step = 0
        self.model.train()
        for epoch in range(self.args.num_epochs):
            for ids, label in self.batches():
                if global_step >= self.total:
                    break
                loss = nn.functional.cross_entropy(self.model(ids), label)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.lr_scheduler.step()
                global_step += 1
            print({"epoch": epoch, "step": global_step, "loss": round(loss.item(), 4),
                   "lr": self.lr_scheduler.get_last_lr()[0]})


if __name__ == "__main__":
    torch.manual_seed(0)
    tokens = torch.randint(0, 90, (200, 7))
    labels = tokens[:, 0] % 3
    net = nn.Sequential(nn.Embedding(90, 16), nn.Flatten(), nn.Linear(7 * 16, 3))
    HFStyleTrainer(net, TrainingArguments(8, 3, 1e-2), (tokens, labels)).train()
