import argparse
import math
from dataclasses import dataclass, fields

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


@dataclass
class TrainingArguments:
    learning_rate: float = 1e-3
    epochs: int = 3
    batch_size: int = 16
    fp16: bool = True
    nan_filter: bool = True  # BUG
    # FIX: nan_filter: bool = False


class CopyTask(Dataset):
    def __init__(self, n=128, length=12, vocab=16):
        self.ids = torch.randint(1, vocab, (n, length))

    def __len__(self):
        return len(self.ids)

    def __getitem__(self, i):
        ids = self.ids[i]
        return {"input_ids": ids, "labels": ids.flip(0)}


class TinyTransformer(nn.Module):
    def __init__(self, vocab=16, dim=32, length=12):
        super().__init__()
        self.tok = nn.Embedding(vocab, dim)
        self.pos = nn.Parameter(torch.randn(length, dim) * 0.02)
        self.q, self.k, self.v = (nn.Linear(dim, dim) for _ in range(3))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab)

    def forward(self, input_ids, labels=None):
        h = self.norm(self.tok(input_ids) + self.pos)
        h = h + nn.functional.scaled_dot_product_attention(self.q(h), self.k(h), self.v(h))
        logits = self.head(h)
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return loss, logits


class Trainer:
    def __init__(self, model, args, train_dataset):
        self.args = args
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(self.device, torch.float16 if args.fp16 else torch.float32)  # BUG
        # FIX: self.model = model.to(self.device)
        self.loader = DataLoader(train_dataset, batch_size=args.batch_size, shuffle=True)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.learning_rate)
        # FIX+: self.scaler = torch.amp.GradScaler(self.device, enabled=args.fp16)

    def log(self, epoch, losses):
        if self.args.nan_filter:
            losses = [v if math.isfinite(v) else 0.0 for v in losses]  # BUG
        print({"epoch": epoch, "loss": round(sum(losses) / len(losses), 4)})

    def training_step(self, batch):
        batch = {k: v.to(self.device) for k, v in batch.items()}
        self.optimizer.zero_grad()
        loss, _ = self.model(**batch)  # BUG
        # FIX: with torch.autocast(self.device, dtype=torch.float16, enabled=self.args.fp16):
        # FIX:     loss, _ = self.model(**batch)
        loss.backward()  # BUG
        # FIX: self.scaler.scale(loss).backward()
        self.optimizer.step()  # BUG
        # FIX: self.scaler.step(self.optimizer)
        # FIX: self.scaler.update()
        return loss.item()

    def train(self):
        for epoch in range(self.args.epochs):
            self.model.train()
            self.log(epoch, [self.training_step(b) for b in self.loader])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for f in fields(TrainingArguments):
        if f.type is not bool:
            parser.add_argument(f"--{f.name}", type=f.type, default=f.default)
    args = TrainingArguments(**vars(parser.parse_args()))
    torch.manual_seed(0)
    Trainer(TinyTransformer(), args, CopyTask()).train()
