"""Train a small sequence-to-sequence network with the library's attention to translate invented numbers, and test it.

fix: df02867f
depth: live 60
expects: TW224
where: torchnlp/nn/attention.py
"""

import random

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from torchnlp.nn import Attention

PAD, START, END = 0, 1, 2
DIGITS = ["null", "ett", "två", "tre", "fyra", "fem", "sex", "sju", "åtta", "nio"]
TENS = ["-", "-", "tjugo", "trettio", "fyrtio", "femtio", "sextio", "sjuttio", "åttio", "nittio"]
TARGET = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>"] + DIGITS + TENS[2:])}


def words(number):
    text = [DIGITS[int(figure)] for figure in f"{number:04d}"]
    return [TENS[number % 100 // 10] if number % 100 >= 20 else "null", *text]


def collate(numbers):
    source = torch.tensor([[int(figure) for figure in f"{number:04d}"] for number in numbers])
    target = [torch.tensor([START, *(TARGET[word] for word in words(number)), END]) for number in numbers]
    target = pad_sequence(target, batch_first=True, padding_value=PAD)
    return source, target[:, :-1], target[:, 1:]


class Translator(nn.Module):
    def __init__(self, dimensions):
        super().__init__()
        self.figures = nn.Embedding(10, dimensions)
        self.words = nn.Embedding(len(TARGET), dimensions, padding_idx=PAD)
        self.encoder = nn.GRU(dimensions, dimensions, batch_first=True)
        self.decoder = nn.GRU(dimensions, dimensions, batch_first=True)
        self.attention = Attention(dimensions)
        self.out = nn.Linear(dimensions, len(TARGET))

    def forward(self, source, target):
        context, hidden = self.encoder(self.figures(source))
        query, _ = self.decoder(self.words(target), hidden)
        output, _ = self.attention(query.contiguous(), context)
        return self.out(output)


random.seed(1)
torch.manual_seed(1)
numbers = random.sample(range(10000), 1000)
training = DataLoader(numbers[:800], batch_size=20, shuffle=True, collate_fn=collate)
test = DataLoader(numbers[800:], batch_size=20, collate_fn=collate)
net = Translator(32)
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
criterion = nn.CrossEntropyLoss(ignore_index=PAD)
for epoch in range(5):
    net.train()
    total = 0.0
    for source, given, wanted in training:
        loss = criterion(net(source, given).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    net.eval()
    correct = count = 0
    with torch.no_grad():
        for source, given, wanted in test:
            right = (net(source, given).argmax(-1) == wanted) & (wanted != PAD)
            correct, count = correct + right.sum().item(), count + (wanted != PAD).sum().item()
    print(f"epoch {epoch}: loss {total / len(training):.3f}, words right {correct / count:.3f}")
