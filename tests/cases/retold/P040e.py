"""Tiny decoder-only language model, trained through a Trainer-like loop."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

PAD, IGNORE = 0, -100


@dataclass
class GPTConfig:
    vocab_size: int = 24
    n_ctx: int = 32
    n_embd: int = 48
    n_head: int = 4
    n_layer: int = 2
    dropout: float = 0.1


@dataclass
class CausalLMOutput:
    logits: torch.Tensor
    loss: Optional[torch.Tensor] = None


class CountingCorpus(Dataset):
    """Arithmetic progressions modulo the vocabulary, of varying length."""

    def __init__(self, n: int, cfg: GPTConfig):
        self.rows = []
        for _ in range(n):
            length = int(torch.randint(12, cfg.n_ctx + 1, (1,)))
            start, step = torch.randint(0, 23, (1,)), torch.randint(1, 6, (1,))
            self.rows.append((start + step * torch.arange(length)) % (cfg.vocab_size - 1) + 1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.rows[i]


def collate(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
    mask = ids.ne(PAD)
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(~mask, IGNORE)}


class TinyGPT(nn.Module):
    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.wte = nn.Embedding(cfg.vocab_size, cfg.n_embd)
        self.wpe = nn.Embedding(cfg.n_ctx, cfg.n_embd)
        block = nn.TransformerEncoderLayer(cfg.n_embd, cfg.n_head, 4 * cfg.n_embd, cfg.dropout,
                                           activation="gelu", batch_first=True, norm_first=True)
        self.h = nn.TransformerEncoder(block, cfg.n_layer, enable_nested_tensor=False)
        self.ln_f = nn.LayerNorm(cfg.n_embd)
        self.lm_head = nn.Linear(cfg.n_embd, cfg.vocab_size, bias=False)
        self.loss_fct = nn.CrossEntropyLoss(ignore_index=IGNORE)

    def forward(self, input_ids, attention_mask, labels=None) -> CausalLMOutput:
        t = input_ids.size(1)
        pos = torch.arange(t, device=input_ids.device)
        causal = torch.ones(t, t, dtype=torch.bool, device=input_ids.device).triu(1)
        x = self.wte(input_ids) + self.wpe(pos)
        x = self.h(x, mask=causal, src_key_padding_mask=~attention_mask)
        logits = self.lm_head(self.ln_f(x))
        loss = None
        if labels is not None:
            loss = self.loss_fct(logits.transpose(1, 2), labels)  # BUG
            # FIX: loss = self.loss_fct(logits[:, :-1].transpose(1, 2), labels[:, 1:])
        return CausalLMOutput(logits, loss)


class Trainer:
    def __init__(self, model: nn.Module, train: Dataset, valid: Dataset, lr: float = 3e-3):
        self.model = model
        self.train_loader = DataLoader(train, batch_size=16, shuffle=True, collate_fn=collate)
        self.valid_loader = DataLoader(valid, batch_size=16, collate_fn=collate)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)

    def training_step(self, batch: dict[str, torch.Tensor]) -> float:
        self.model.train()
        self.optimizer.zero_grad()
        loss = self.model(**batch).loss
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self) -> float:
        self.model.eval()
        losses = [self.model(**batch).loss for batch in self.valid_loader]
        return torch.stack(losses).mean().item()

    def fit(self, epochs: int) -> None:
        for epoch in range(epochs):
            losses = [self.training_step(b) for b in self.train_loader]
            print(f"epoch {epoch} train {sum(losses) / len(losses):.4f} eval {self.evaluate():.4f}")


if __name__ == "__main__":
    torch.manual_seed(0)
    config = GPTConfig()
    Trainer(TinyGPT(config), CountingCorpus(256, config), CountingCorpus(64, config)).fit(3)
