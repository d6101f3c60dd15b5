"""Train the small GPT on characters of an invented text with the project's trainer, then let it write.

fix: 339f4e7a
depth: live 60
expects: TW506
where: mingpt/trainer.py
needs: tqdm
"""

import math

import numpy as np
import torch
from mingpt.model import GPT, GPTConfig
from mingpt.trainer import Trainer, TrainerConfig
from mingpt.utils import sample, set_seed
from torch.utils.data import Dataset

set_seed(42)


class CharDataset(Dataset):
    def __init__(self, data, block_size, chars):
        self.stoi = {ch: i for i, ch in enumerate(chars)}
        self.itos = dict(enumerate(chars))
        self.block_size = block_size
        self.vocab_size = len(chars)
        self.data = data

    def __len__(self):
        return math.ceil((len(self.data) - 1) / self.block_size)

    def __getitem__(self, idx):
        start = min(idx * self.block_size, len(self.data) - self.block_size - 1)
        codes = [self.stoi[ch] for ch in self.data[start : start + self.block_size + 1]]
        return torch.tensor(codes[:-1], dtype=torch.long), torch.tensor(codes[1:], dtype=torch.long)


def write_text(words, lines):
    return "".join(" ".join(np.random.choice(words, np.random.randint(3, 9))) + ".\n" for _ in range(lines))


chapters = [
    ["the", "sea", "ship", "wind", "sail", "cold", "and", "a", "wave", "rose"],
    ["my", "lord", "king", "queen", "speak", "thou", "art", "and", "false", "no"],
    ["in", "town", "market", "bread", "sold", "old", "man", "and", "the", "cat"],
]
text = "".join(write_text(words, 60) for words in chapters)
chars = sorted(set(text))
train_dataset = CharDataset(text, 32, chars)
test_dataset = CharDataset("".join(write_text(words, 8) for words in chapters), 32, chars)

model = GPT(GPTConfig(train_dataset.vocab_size, train_dataset.block_size, n_layer=2, n_head=4, n_embd=32))
tokens = len(train_dataset) * train_dataset.block_size
config = TrainerConfig(
    max_epochs=4, batch_size=16, learning_rate=3e-3, lr_decay=True, warmup_tokens=512, final_tokens=4 * tokens,
    num_workers=0,
)  # fmt: skip
trainer = Trainer(model, train_dataset, test_dataset, config)
trainer.train()

model.eval()
x = torch.tensor([train_dataset.stoi[ch] for ch in "the "], dtype=torch.long)[None]
y = sample(model, x, 60, temperature=0.9, sample=True, top_k=5)[0]
print("".join(train_dataset.itos[int(i)] for i in y))
