"""Sentence classification with a bidirectional LSTM over packed sequences of different lengths."""

import argparse
import random

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--hidden", type=int, default=512)
parser.add_argument("--embedding", type=int, default=300)
parser.add_argument("--vocabulary", type=int, default=20_000)
parser.add_argument("--sentences", type=int, default=2_000)
parser.add_argument("--longest", type=int, default=80)
args = parser.parse_args()

random.seed(0)
torch.manual_seed(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def sentence():
    length = random.randint(3, args.longest)
    return torch.randint(1, args.vocabulary, (length,)), random.randint(0, 1)


def collate(batch):
    batch.sort(key=lambda item: len(item[0]), reverse=True)
    words, labels = zip(*batch)
    lengths = torch.tensor([len(w) for w in words])
    return pad_sequence(words, batch_first=True), lengths, torch.tensor(labels, dtype=torch.float)


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(args.vocabulary, args.embedding, padding_idx=0)
        self.lstm = nn.LSTM(
            args.embedding, args.hidden, num_layers=2, batch_first=True, bidirectional=True, dropout=0.3
        )
        self.attention = nn.Linear(2 * args.hidden, 1)
        self.head = nn.Linear(2 * args.hidden, 1)

    def forward(self, words, lengths):
        packed = pack_padded_sequence(self.embedding(words), lengths, batch_first=True)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        scores = self.attention(states).squeeze(-1)
        scores = scores.masked_fill(words == 0, float("-inf"))
        pooled = torch.einsum("bt,btd->bd", scores.softmax(dim=1), states)
        return self.head(pooled).squeeze(1)


data = [sentence() for _ in range(args.sentences)]
loader = torch.utils.data.DataLoader(data, args.batch_size, shuffle=True, collate_fn=collate)
model = Classifier().to(device)
optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()))
criterion = nn.BCEWithLogitsLoss().to(device)
for epoch in range(2):
    for i, (words, lengths, labels) in enumerate(loader):
        optimizer.zero_grad()
        predictions = model(words.to(device), lengths)
        labels = labels.to(device)
        loss = criterion(predictions, labels)
        accuracy = (predictions.sigmoid().round() == labels).float().mean()
        loss.backward()
        optimizer.step()
        if i % 10 == 0:
            print(f"{epoch}:{i} loss {loss.item():.3f} accuracy {accuracy.item():.2%}")
