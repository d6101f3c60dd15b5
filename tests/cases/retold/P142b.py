"""Sentence-pair matching with a decorated train step."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
VOCAB = 60
bf16 = torch.autocast(DEVICE, dtype=torch.bfloat16)


class PairEncoder(nn.Module):
    def __init__(self, dim: int = 32) -> None:
        super().__init__()
        self.emb = nn.Embedding(VOCAB, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 64), nn.ReLU(), nn.Linear(64, dim))
        self.scale = nn.Parameter(torch.tensor(2.0))

    def encode(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.mlp(self.emb(tokens).mean(1)), dim=-1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.scale.exp() * self.encode(a) @ self.encode(b).t()


# FIX+: @bf16
def pair_loss(model: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    logits = model(a, b)
    target = torch.arange(len(a), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target))


@bf16  # BUG
# FIX:
def train_step(model: nn.Module, opt: torch.optim.Optimizer, a: Tensor, b: Tensor) -> float:
    opt.zero_grad()
    loss = pair_loss(model, a, b)
    loss.backward()  # BUG
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    opt.step()
    return loss.item()


@torch.no_grad()
@bf16
def accuracy(model: nn.Module, a: Tensor, b: Tensor) -> float:
    model.eval()
    hit = model(a, b).argmax(1) == torch.arange(len(a), device=a.device)
    return hit.float().mean().item()


def make_pairs(n: int) -> tuple[Tensor, Tensor]:
    a = torch.randint(0, VOCAB, (n, 10), device=DEVICE)
    noise = torch.rand(n, 10, device=DEVICE) < 0.3
    return a, torch.where(noise, torch.randint(0, VOCAB, (n, 10), device=DEVICE), a)


if __name__ == "__main__":
    torch.manual_seed(0)
    model = PairEncoder().to(DEVICE)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for step in range(30):
        value = train_step(model, opt, *make_pairs(32))
        if step % 10 == 0:
            print(step, round(value, 4))
    print("acc", accuracy(model, *make_pairs(64)))
