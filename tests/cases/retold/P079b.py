from __future__ import annotations

import torch
from torch import Tensor, nn


class TextEncoder(nn.Module):
    """BERT-like encoder; ``n_frozen`` lowest layers (and the embeddings) are kept as pretrained."""

    def __init__(self, vocab: int, dim: int = 32, depth: int = 4, n_frozen: int = 0) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(vocab, dim, padding_idx=0)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.1, batch_first=True) for _ in range(depth))
        self.n_frozen = n_frozen  # BUG
        # FIX: self.n_frozen = n_frozen
        # FIX: self.requires_grad_for_finetuning()

    def requires_grad_for_finetuning(self) -> None:
        if self.n_frozen > 0:
            for module in [self.embeddings, *self.layers[: self.n_frozen]]:
                module.requires_grad_(False)
                module.eval()

    def train(self, mode: bool = True) -> TextEncoder:
        result = super().train(mode)
        if mode:
            self.requires_grad_for_finetuning()  # BUG
        return result

    def forward(self, ids: Tensor) -> Tensor:
        pad = ids.eq(0)
        x = self.embeddings(ids)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=pad)
        keep = (~pad).unsqueeze(-1).float()
        return (x * keep).sum(1) / keep.sum(1)


def make_batch(vocab: int, n: int = 24) -> tuple[Tensor, Tensor]:
    ids = torch.randint(1, vocab, (n, 10))
    ids[:, 7:] = ids[:, 7:] * torch.randint(0, 2, (n, 1))
    return ids, (ids[:, :3].float().mean(1, keepdim=True) - vocab / 2) / vocab


def finetune(encoder: TextEncoder, head: nn.Module, steps: int) -> float:
    trainable = [p for p in [*encoder.parameters(), *head.parameters()] if p.requires_grad]
    opt = torch.optim.AdamW(trainable, lr=2e-3)
    for _ in range(steps):
        ids, y = make_batch(80)
        loss = nn.functional.mse_loss(head(encoder(ids)), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


if __name__ == "__main__":
    torch.manual_seed(0)
    encoder = TextEncoder(80, n_frozen=2)
    start = encoder.layers[0].linear1.weight.detach().clone()
    # freshly built modules are in training mode
    final = finetune(encoder, nn.Linear(32, 1), steps=20)
    drift = (encoder.layers[0].linear1.weight - start).norm().item()
    print(f"loss {final:.4f}, drift of layer 0: {drift:.4f}")
