from typing import Tuple

import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, one_hot

N_DIGITS: int = 5


def make_audio(n: int, seed: int) -> Tuple[Tensor, Tensor]:
    gen = torch.Generator().manual_seed(seed)
    digit = torch.randint(N_DIGITS, (n, 1), generator=gen)
    t = torch.linspace(0, 1, 64)
    wave = torch.sin(2 * torch.pi * (digit + 1) * 2 * t)      # (n,1) * (64,) -> (n,64)
    return wave + 0.2 * torch.randn(n, 64, generator=gen), digit


def focal_loss(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    logp = log_softmax(logits, dim=-1)
    hot = one_hot(target, N_DIGITS).to(logp.dtype)  # BUG
    # FIX: hot = one_hot(target.flatten(), N_DIGITS).to(logp.dtype)
    weight = (1 - logp.exp()).pow(gamma)
    return -(hot * weight * logp).sum(dim=-1).mean()


def fit(net: nn.Module, wave: Tensor, digit: Tensor, steps: int) -> float:
    opt = torch.optim.Adam(net.parameters(), lr=3e-3)
    net.train()
    value = float("nan")
    for step in range(steps):
        sel = torch.randperm(len(wave))[:40]
        opt.zero_grad(set_to_none=True)
        loss = focal_loss(net(wave[sel]), digit[sel])  # BUG
        loss.backward()
        opt.step()
        value = loss.item()
    return value


@torch.inference_mode()
def score(net: nn.Module, wave: Tensor, digit: Tensor) -> float:
    net.eval()
    return (net(wave).argmax(-1) == digit.squeeze(1)).double().mean().item()


def main() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(nn.Unflatten(1, (1, 64)), nn.Conv1d(1, 8, 7, stride=2), nn.ReLU(),
                        nn.Flatten(), nn.Linear(8 * 29, N_DIGITS))
    last = fit(net, *make_audio(200, 0), steps=40)
    print(f"loss {last:.4f} accuracy {score(net, *make_audio(80, 1)):.3f}")


if __name__ == "__main__":
    main()
