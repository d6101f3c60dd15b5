"""Character-level story model with a small text generation API."""
import argparse
from dataclasses import dataclass

import torch
import torch.nn as nn


@dataclass
class GenerationConfig:
    max_new_tokens: int = 12
    max_context: int = 32
    greedy: bool = True


class LM(nn.Module):
    def __init__(self, vocab, dim, ctx):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, dim), nn.Embedding(ctx, dim)
        self.layer = nn.TransformerEncoderLayer(dim, 4, 4 * dim, dropout=0.1, batch_first=True)
        self.out = nn.Linear(dim, vocab)

    def forward(self, ids):
        n = ids.size(1)
        causal = torch.ones(n, n, dtype=torch.bool, device=ids.device).triu(1)
        h = self.tok(ids) + self.pos(torch.arange(n, device=ids.device))
        return self.out(self.layer(h, src_mask=causal))


class Generator:
    def __init__(self, model, cfg):
        self.model, self.cfg = model, cfg

    def pick(self, logits):
        if self.cfg.greedy:
            return logits.argmax(-1, keepdim=True)
        return torch.multinomial(logits.softmax(-1), 1)

    @torch.no_grad()
    def __call__(self, prompt):
        self.model.eval()
        window = self.cfg.max_context
        stop_at = prompt.size(1) + self.cfg.max_new_tokens  # BUG
        # FIX:
        prompt = prompt[:, -window:]  # BUG
        # FIX: prompt = prompt[:, -window:]
        # FIX: stop_at = prompt.size(1) + self.cfg.max_new_tokens
        ids = prompt
        while ids.size(1) < stop_at:
            nxt = self.pick(self.model(ids[:, -window:])[:, -1])
            ids = torch.cat([ids, nxt], dim=1)
        return ids[:, prompt.size(1):]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=15)
    p.add_argument("--new-tokens", type=int, default=12)
    args = p.parse_args()
    torch.manual_seed(0)
    text = "once upon a time there was a small model that liked long prompts. " * 8
    itos = sorted(set(text))
    data = torch.tensor([itos.index(c) for c in text])
    cfg = GenerationConfig(max_new_tokens=args.new_tokens)
    model = LM(len(itos), 32, cfg.max_context)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(args.steps):
        at = torch.randint(len(data) - cfg.max_context - 1, (16,)).tolist()
        seq = torch.stack([data[i:i + cfg.max_context + 1] for i in at])
        logits = model(seq[:, :-1])
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), seq[:, 1:].flatten())
        opt.zero_grad()
        loss.backward()
        opt.step()
    new = Generator(model, cfg)(data[:50].unsqueeze(0))
    print(f"loss {loss.item():.3f}, {new.size(1)} new:", "".join(itos[i] for i in new[0].tolist()))


if __name__ == "__main__":
    main()
