from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Config:
    dim: int = 64
    heads: int = 4
    layers: int = 2
    classes: int = 6
    mels: int = 40
    lr: float = 1e-3


class Attention(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.heads = cfg.heads
        self.to_qkv = nn.Linear(cfg.dim, 3 * cfg.dim, bias=False)
        self.proj = nn.Linear(cfg.dim, cfg.dim)

    def _split(self, t: Tensor) -> Tensor:
        t = t.unflatten(-1, (self.heads, -1)).contiguous()  # BUG
        # FIX: t = t.unflatten(-1, (self.heads, -1))
        return t.transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self._split(t) for t in self.to_qkv(x).chunk(3, dim=-1))
        out = F.scaled_dot_product_attention(q, k, v)
        out = out.transpose(1, 2).contiguous().view(x.shape)
        return self.proj(out)


class Block(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(cfg.dim), nn.LayerNorm(cfg.dim)
        self.attn = Attention(cfg)
        self.mlp = nn.Sequential(nn.Linear(cfg.dim, 2 * cfg.dim), nn.GELU(), nn.Linear(2 * cfg.dim, cfg.dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.n1(x))
        return x + self.mlp(self.n2(x))


class AudioTagger(nn.Module):
    def __init__(self, cfg: Config) -> None:
        super().__init__()
        self.stem = nn.Conv1d(cfg.mels, cfg.dim, kernel_size=3, stride=2, padding=1)
        self.blocks = nn.Sequential(*[Block(cfg) for _ in range(cfg.layers)])
        self.head = nn.Linear(cfg.dim, cfg.classes)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.stem(mel).transpose(1, 2)
        return self.head(self.blocks(x).mean(dim=1))


def synthetic(n: int, cfg: Config, g: torch.Generator) -> tuple[Tensor, Tensor]:
    labels = torch.randint(cfg.classes, (n,), generator=g)
    mel = torch.randn(n, cfg.mels, 48, generator=g)
    mel[torch.arange(n), labels * 5] += 2.0
    return mel, labels


def main() -> None:
    torch.manual_seed(3)
    cfg, g = Config(), torch.Generator().manual_seed(3)
    mel, labels = synthetic(192, cfg, g)
    model = AudioTagger(cfg)
    opt = torch.optim.AdamW(model.parameters(), lr=cfg.lr)
    model.train()
    for epoch in range(3):
        for idx in torch.randperm(len(mel), generator=g).split(32):
            opt.zero_grad()
            loss = F.cross_entropy(model(mel[idx]), labels[idx])
            loss.backward()
            opt.step()
        print(f"epoch {epoch} loss {loss.item():.3f}")
    model.eval()
    with torch.no_grad():
        val_mel, val_labels = synthetic(64, cfg, g)
        print("val acc", (model(val_mel).argmax(-1) == val_labels).float().mean().item())


if __name__ == "__main__":
    main()
