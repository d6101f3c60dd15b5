"""Train the attention model for speech and evaluate it on the dev set after each epoch, as the project's train.py does.

fix: db524f4d
depth: live 60
expects: -
where: program
stands in: Python 2's way to ask whether the model is on a GPU
"""

import random

import numpy as np
import torch
from stand_ins import load
from torch import nn

Model = load("models/model.py").Model
Seq2Seq = load("models/seq2seq.py").Seq2Seq
Model.is_cuda = property(lambda self: next(self.parameters()).is_cuda)

random.seed(0)
np.random.seed(0)
torch.manual_seed(0)
freq_dim, vocab_size, start, end = 40, 14, 13, 12
config = {
    "class": "Seq2Seq",
    "dropout": 0.1,
    "encoder": {
        "conv": [[8, 5, 11, 2], [8, 5, 7, 2]],
        "rnn": {"dim": 32, "bidirectional": True, "layers": 1},
    },
    "decoder": {"embedding_dim": 32, "layers": 1, "sample_prob": 0.2},
}


def batches(count, size=4):
    found = []
    for _ in range(count):
        speech = np.random.randn(np.random.randint(60, 100), freq_dim).astype(np.float32)
        text = [start, *np.random.randint(0, end, np.random.randint(3, 9)).tolist(), end]
        found.append((speech, text))
    return [tuple(zip(*found[at : at + size])) for at in range(0, count, size)]


def run_epoch(model, optimizer, train):
    for batch in random.sample(train, len(train)):
        optimizer.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 200)
        optimizer.step()
        print("train", loss.item())


def eval_dev(model, dev):
    losses = []
    model.set_eval()
    with torch.no_grad():
        for batch in dev:
            model.infer(batch, max_len=20)
            losses.append(model.loss(batch).item())
    model.set_train()
    print("dev", sum(losses) / len(losses))


train, dev = batches(26), batches(10)
model = Seq2Seq(freq_dim, vocab_size, config)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
for _ in range(3):
    run_epoch(model, optimizer, train)
    eval_dev(model, dev)
