from __future__ import annotations

import torch
from torch import Tensor


def init(d: int, k: int, device: str) -> dict[str, Tensor]:
    w = torch.randn(d, d, device=device) * d ** -0.5
    v = torch.randn(d, k, device=device) * d ** -0.5
    return {"w": w.requires_grad_(), "v": v.requires_grad_()}


def project(params: dict[str, Tensor], queries: Tensor) -> Tensor:
    """queries: (batch, d) -> (batch, d)"""
    return torch.stack([params["w"].t().mv(q) for q in queries])  # BUG
    # FIX: return queries @ params["w"]


def scores(params: dict[str, Tensor], queries: Tensor) -> Tensor:
    return torch.tanh(project(params, queries)) @ params["v"]


def step(params: dict[str, Tensor], q: Tensor, target: Tensor, lr: float) -> Tensor:
    loss = torch.nn.functional.cross_entropy(scores(params, q), target)
    grads = torch.autograd.grad(loss, list(params.values()))
    with torch.no_grad():
        for p, g in zip(params.values(), grads):
            p -= lr * g
    return loss.detach()


def main() -> None:
    torch.manual_seed(11)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    params = init(1024, 32, device)
    q = torch.randn(128, 1024, device=device)
    target = torch.randint(32, (128,), device=device)
    history = [step(params, q, target, lr=0.5) for _ in range(5)]
    print("loss", torch.stack(history).tolist())


if __name__ == "__main__":
    main()
