"""Sentence classification with a small home-made processor."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F

WORDS = "the film was good bad great awful plot actor fine boring".split()
POSITIVE = {"good", "great", "fine"}


class Processor:
    def __init__(self, words):
        self.index = {w: i + 1 for i, w in enumerate(words)}

    def encode(self, sentence):
        return [self.index[w] for w in sentence.split()]

    def __call__(self, text):
        if isinstance(text, (list, tuple)):
            text = text[0]  # BUG
            # FIX: rows = [torch.tensor(self.encode(t)) for t in text]
        rows = [torch.tensor(self.encode(text))]  # BUG
        # FIX: else:
        # FIX:     rows = [torch.tensor(self.encode(text))]
        return {"input_ids": nn.utils.rnn.pad_sequence(rows, batch_first=True)}


class Classifier(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.emb, self.fc = nn.Embedding(vocab, dim, padding_idx=0), nn.Linear(dim, 1)

    def forward(self, input_ids):
        return self.fc(self.emb(input_ids).sum(1)).squeeze(-1)


def batch(n):
    texts, labels = [], []
    for _ in range(n):
        w = [WORDS[i] for i in torch.randint(0, len(WORDS), (torch.randint(3, 7, ()).item(),))]
        texts.append(" ".join(w))
        labels.append(float(any(k in POSITIVE for k in w)))
    return texts, torch.tensor(labels)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dim", type=int, default=16)
    p.add_argument("--steps", type=int, default=30)
    args = p.parse_args()
    torch.manual_seed(0)
    processor = Processor(WORDS)
    model = Classifier(len(WORDS) + 1, args.dim)
    opt = torch.optim.Adam(model.parameters(), lr=2e-2)
    model.train()
    for _ in range(args.steps):
        texts, y = batch(16)
        logit = model(**processor(texts))
        loss = F.binary_cross_entropy_with_logits(logit.expand_as(y), y)  # BUG
        # FIX: loss = F.binary_cross_entropy_with_logits(logit, y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    print(f"loss {loss.item():.4f}")


if __name__ == "__main__":
    main()
