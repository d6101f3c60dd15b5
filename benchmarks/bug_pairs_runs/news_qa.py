"""Train BiDAF to find answers in invented paragraphs, and measure exact matches on held-out questions.

fix: 336708ed
depth: rehearse
expects: TW122
where: model/model.py
stands in: in-place fill of initialised biases without gradient, as in the torch of that time
"""

import random
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

chunk = torch.Tensor.chunk
torch.Tensor.chunk = lambda self, *rest: chunk(self.detach(), *rest)

from model.model import BiDAF

NAMES = ["anna", "bernard", "chloe", "david", "esther", "farid", "georgia", "henrik"]
CITIES = ["amsterdam", "bristol", "cologne", "dresden", "edinburgh", "florence", "genoa", "hamburg"]
THINGS = ["violins", "bicycles", "carpets", "telescopes", "umbrellas", "watches", "kites", "guitars"]
VERBS = ["builds", "repairs", "sells", "collects", "paints"]
OTHER = [
    "<unk>",
    "<pad>",
    "in",
    "the",
    "town",
    "of",
    "who",
    "what",
    "where",
    "lives",
    "and",
    "since",
    "years",
    "many",
    ".",
    "?",
]
WORDS = {word: i for i, word in enumerate(OTHER + NAMES + CITIES + THINGS + VERBS)}
CHARS = {char: i for i, char in enumerate(["<unk>", "<pad>"] + sorted(set("".join(WORDS))))}


def example():
    name, other = random.sample(NAMES, 2)
    city, second = random.sample(CITIES, 2)
    verb, thing = random.choice(VERBS), random.choice(THINGS)
    context = f"{name} {verb} {thing} in the town of {city} ."
    if random.random() < 0.5:
        context = f"{other} lives in {second} since many years . " + context
    question, answer = random.choice(
        [(f"who {verb} {thing} ?", name), (f"what {verb} {name} ?", thing), (f"where {verb} {name} {thing} ?", city)]
    )
    context = context.split()
    start = len(context) - 1 - context[::-1].index(answer)
    return context, question.split(), start


def encode(sentences):
    words = pad_sequence([torch.tensor([WORDS[w] for w in s]) for s in sentences], True, WORDS["<pad>"])
    longest = max(8, max(len(w) for s in sentences for w in s))
    chars = torch.full((*words.shape, longest), CHARS["<pad>"])
    for i, s in enumerate(sentences):
        for j, w in enumerate(s):
            chars[i, j, : len(w)] = torch.tensor([CHARS[c] for c in w])
    return (words, torch.tensor([len(s) for s in sentences])), chars


def collate(examples):
    contexts, questions, starts = zip(*examples)
    c_word, c_char = encode(contexts)
    q_word, q_char = encode(questions)
    starts = torch.tensor(starts)
    return SimpleNamespace(c_word=c_word, c_char=c_char, q_word=q_word, q_char=q_char, s_idx=starts, e_idx=starts)


random.seed(1)
torch.manual_seed(1)
args = SimpleNamespace(
    char_vocab_size=len(CHARS), char_dim=8, char_channel_size=20, char_channel_width=5, word_dim=20, hidden_size=20,
    dropout=0.2,
)  # fmt: skip
model = BiDAF(args, torch.randn(len(WORDS), args.word_dim))
torch.Tensor.chunk = chunk
optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-3)
criterion = nn.CrossEntropyLoss()
training = DataLoader([example() for _ in range(320)], batch_size=32, shuffle=True, collate_fn=collate)
validation = DataLoader([example() for _ in range(96)], batch_size=32, collate_fn=collate)
for epoch in range(4):
    model.train()
    total = 0.0
    for batch in training:
        p1, p2 = model(batch)
        loss = criterion(p1, batch.s_idx) + criterion(p2, batch.e_idx)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    exact = 0
    with torch.no_grad():
        for batch in validation:
            p1, p2 = model(batch)
            exact += ((p1.argmax(1) == batch.s_idx) & (p2.argmax(1) == batch.e_idx)).sum().item()
    print(f"epoch {epoch}: loss {total / len(training):.3f}, exact match {exact / len(validation.dataset):.3f}")
