"""Train a windowed MLP language model on a counting language and sample from it."""
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class GenerationConfig:
    max_new_tokens: int = 8
    temperature: float = 0.8
    top_k: int = 5


class WindowLM(nn.Module):
    """causal GRU with a bounded number of learned positions"""

    def __init__(self, vocab, context, width=32):
        super().__init__()
        self.context = context
        self.tok = nn.Embedding(vocab, width)
        self.pos = nn.Embedding(context, width)
        self.rnn = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, vocab)

    def forward(self, ids):
        where = torch.arange(ids.size(1), device=ids.device)
        h, _ = self.rnn(self.tok(ids) + self.pos(where))
        return self.out(h)


@torch.no_grad()
def sample(model, prompt, cfg):
    was_training = model.training
    model.eval()
    room = model.context - cfg.max_new_tokens
    wanted = prompt.size(1) + cfg.max_new_tokens  # BUG
    # FIX: prompt = prompt[:, -room:]
    # FIX: wanted = prompt.size(1) + cfg.max_new_tokens
    ids = prompt[:, -room:]  # BUG
    # FIX: ids = prompt
    while ids.size(1) < wanted:
        logits = model(ids[:, -model.context:])[:, -1] / cfg.temperature
        floor = logits.topk(cfg.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < floor, float("-inf"))
        nxt = torch.multinomial(logits.softmax(-1), num_samples=1)
        ids = torch.cat([ids, nxt], dim=1)
    model.train(was_training)
    return ids


def counting_batch(n, length, vocab):
    start = torch.randint(0, vocab, (n, 1))
    stride = torch.randint(1, 4, (n, 1))
    return (start + stride * torch.arange(length)) % vocab


def main():
    torch.manual_seed(31)
    vocab, context = 17, 20
    model = WindowLM(vocab, context)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    model.train()
    for step in range(60):
        seq = counting_batch(24, context + 1, vocab)
        logits = model(seq[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, vocab), seq[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 19:
            print(f"step {step + 1} loss {loss.item():.3f}")

    cfg = GenerationConfig()
    for prompt_length in (6, 30):
        prompt = counting_batch(1, prompt_length, vocab)
        text = sample(model, prompt, cfg)
        print(prompt_length, "->", text[0].tolist())


if __name__ == "__main__":
    main()
