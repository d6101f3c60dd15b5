"""Train the sentence classifier with the project's own loop on random sentences.

fix: 5e11c712
depth: live 12
expects: TW313
where: train.py, program
"""

from types import SimpleNamespace

import torch
from model import CNN_Text

from train import train


class Batches:
    """What torchtext's iterator gives: time first, labels from 1."""

    def __init__(self, batches):
        self.batches, self.dataset = batches, range(8 * batches)

    def __iter__(self):
        for _ in range(self.batches):
            yield SimpleNamespace(text=torch.randint(50, (12, 8)), label=torch.randint(1, 3, (8,)), batch_size=8)


args = SimpleNamespace(
    embed_num=50, embed_dim=16, class_num=2, kernel_num=8, kernel_sizes=[2, 3], dropout=0.5, static=False, cuda=False,
    lr=1e-3, epochs=2, log_interval=2, test_interval=4, save_interval=1000, save_best=False, early_stop=1000,
)  # fmt: skip
train(Batches(16), Batches(2), CNN_Text(args), args)
