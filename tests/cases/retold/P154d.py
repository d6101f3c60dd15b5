"""Masked-language pre-training of a compact encoder in bfloat16 (A100 config, shrunk for a smoke test)."""
import torch
from torch import nn

CONFIG = {
    "model": {"hidden": 100, "heads": 4, "ffn": 350, "layers": 2, "max_len": 32},  # BUG
    # FIX: "model": {"hidden": 128, "heads": 4, "ffn": 384, "layers": 2, "max_len": 32},
    "optim": {"lr": 1e-3, "weight_decay": 0.01, "steps": 8, "batch": 8},
    "mask_prob": 0.15,
}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Vocabulary:
    def __init__(self, words, specials=("[PAD]", "[MASK]", "[UNK]")):
        self.index = {w: k for k, w in enumerate([*specials, *sorted(words)])}
        self.pad_id, self.mask_id = self.index["[PAD]"], self.index["[MASK]"]

    def __len__(self):
        return len(self.index)


class MiniBert(nn.Module):
    def __init__(self, n_tokens, hidden, heads, ffn, layers, max_len):
        super().__init__()
        self.tok = nn.Embedding(n_tokens, hidden)
        self.pos = nn.Embedding(max_len, hidden)
        layer = nn.TransformerEncoderLayer(hidden, heads, ffn, 0.1, "gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers)
        self.decoder = nn.Linear(hidden, n_tokens)

    def forward(self, ids):
        h = self.tok(ids) + self.pos.weight[: ids.shape[1]]
        return self.decoder(self.encoder(h))


def corrupt(ids, vocab, prob):
    chosen = torch.rand(ids.shape, device=ids.device) < prob
    chosen[:, 0] = True  # at least one target per row
    labels = ids.masked_fill(~chosen, -100)
    return ids.masked_fill(chosen, vocab.mask_id), labels


def main(cfg=CONFIG):
    torch.manual_seed(0)
    vocab = Vocabulary({f"w{k:04d}" for k in range(1520)})
    n_tokens = len(vocab)  # BUG
    # FIX: n_tokens = -(-len(vocab) // 64) * 64
    model = MiniBert(n_tokens, **cfg["model"]).to(DEVICE)
    o = cfg["optim"]
    opt = torch.optim.AdamW(model.parameters(), lr=o["lr"], weight_decay=o["weight_decay"])
    print(f"{len(vocab)} words, {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters")

    model.train()
    for step in range(o["steps"]):
        start = torch.randint(3, 1400, (o["batch"], 1), device=DEVICE)
        ids = start + torch.arange(cfg["model"]["max_len"], device=DEVICE) % 7
        inputs, labels = corrupt(ids, vocab, cfg["mask_prob"])
        with torch.autocast(DEVICE, dtype=torch.bfloat16):
            logits = model(inputs)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        opt.step()
        if step % 4 == 3:
            print(f"step {step + 1} mlm loss {loss.item():.3f}")


if __name__ == "__main__":
    main()
