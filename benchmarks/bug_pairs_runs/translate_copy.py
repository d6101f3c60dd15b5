"""Run the project's translation training on a small invented language.

fix: c9ddb874
depth: live 60
expects: -
where: program
stands in: torchtext; datasets with its opus_books
"""

import random
import tempfile

import torch
from stand_ins import stand_in

torch.manual_seed(0)
random.seed(0)
WORDS = [a + b for a in ("ka", "lo", "mi", "nu") for b in ("ra", "se", "ti", "vo", "zu")]


def load_dataset(name, pair, split):
    sentences = []
    for _ in range(240):
        words = random.choices(WORDS, k=random.randint(3, 9))
        sentences.append({"translation": {"en": " ".join(words), "it": " ".join(w[::-1] for w in reversed(words))}})
    return sentences


stand_in("torchtext")
stand_in("torchtext.datasets")
stand_in("datasets", load_dataset=load_dataset)

from config import get_config

from train import train_model

folder = tempfile.mkdtemp()
config = get_config()
config.update(
    batch_size=16, num_epochs=2, lr=1e-3, seq_len=14, d_model=64, model_folder=folder,
    tokenizer_file=folder + "/tokenizer_{0}.json", experiment_name=folder + "/runs",
)  # fmt: skip
train_model(config)
