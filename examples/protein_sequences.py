"""Masked language model on protein sequences: 20 amino acids, padding mask, nn.TransformerEncoder."""

import argparse
import random

import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"
PAD, CLS, EOS, MASK, UNK = range(5)
TOKENS = {letter: i + 5 for i, letter in enumerate(AMINO_ACIDS)}


class Proteins(IterableDataset):
    """Random sequences with realistic lengths; a FASTA reader would go here."""

    def __init__(self, count, longest, seed=0):
        self.count, self.longest, self.seed = count, longest, seed

    def __iter__(self):
        rng = random.Random(self.seed)
        for _ in range(self.count):
            length = min(self.longest - 2, max(30, int(rng.lognormvariate(5.5, 0.6))))
            yield "".join(rng.choices(AMINO_ACIDS, k=length))


def encode(sequence):
    return torch.tensor([CLS, *(TOKENS.get(letter, UNK) for letter in sequence), EOS])


def collate(sequences):
    tokens = nn.utils.rnn.pad_sequence([encode(s) for s in sequences], batch_first=True, padding_value=PAD)
    labels = torch.full_like(tokens, -100)
    chosen = (torch.rand(tokens.shape) < 0.15) & (tokens > UNK)
    labels[chosen] = tokens[chosen]
    corrupted = tokens.clone()
    roll = torch.rand(tokens.shape)
    corrupted[chosen & (roll < 0.8)] = MASK
    swap = chosen & (roll >= 0.8) & (roll < 0.9)
    corrupted[swap] = torch.randint(5, 25, (int(swap.sum()),))
    return corrupted, labels


class ProteinModel(nn.Module):
    def __init__(self, width, heads, layers, longest):
        super().__init__()
        self.embed = nn.Embedding(25, width, padding_idx=PAD)
        self.position = nn.Embedding(longest, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.1, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 25)

    def forward(self, tokens):
        padding = tokens == PAD
        x = self.embed(tokens) + self.position(torch.arange(tokens.size(1), device=tokens.device))
        return self.head(self.norm(self.encoder(x, src_key_padding_mask=padding)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--heads", type=int, default=20)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--longest", type=int, default=1024)
    parser.add_argument("--sequences", type=int, default=1024)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = ProteinModel(args.width, args.heads, args.layers, args.longest).to(device)
    decay = [p for n, p in model.named_parameters() if p.ndim > 1]
    rest = [p for n, p in model.named_parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0}], lr=4e-4
    )
    warmup = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 2000))
    criterion = nn.CrossEntropyLoss(ignore_index=-100)
    loader = DataLoader(Proteins(args.sequences, args.longest), args.batch_size, collate_fn=collate)
    for step, (tokens, labels) in enumerate(loader):
        tokens, labels = tokens.to(device), labels.to(device)
        logits = model(tokens)
        loss = criterion(logits.flatten(0, 1), labels.flatten())
        masked = labels != -100
        accuracy = (logits[masked].argmax(-1) == labels[masked]).float().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        warmup.step()
        print(f"step {step} loss {loss.item():.3f} perplexity {loss.exp().item():.1f} accuracy {accuracy.item():.3f}")


if __name__ == "__main__":
    main()
