"""Plain deep conv stack in functional form (no normalisation, on purpose)."""
from typing import List

import torch
import torch.nn.functional as F
from torch import Tensor


def make_filter(c_out: int, c_in: int, k: int) -> Tensor:
    w = torch.randn(c_out, c_in, k, k)
    w *= 1e-2  # BUG
    # FIX: w *= (2.0 / (c_in * k * k)) ** 0.5
    return w.requires_grad_()


def build(channels: int, depth: int) -> List[Tensor]:
    stack = [make_filter(channels, 1, 3)]
    stack += [make_filter(channels, channels, 3) for _ in range(depth - 1)]
    stack.append(make_filter(2, channels, 1))
    return stack


def forward(x: Tensor, stack: List[Tensor]) -> Tensor:
    for w in stack[:-1]:
        x = F.relu(F.conv2d(x, w, padding=1))
    return F.conv2d(x, stack[-1]).mean(dim=(2, 3))


def stripes(n: int) -> tuple[Tensor, Tensor]:
    y = torch.randint(0, 2, (n,))
    wave = torch.sin(torch.arange(10.0)).expand(10, 10)
    img = torch.where(y[:, None, None] == 1, wave, wave.t())
    return (img + 0.3 * torch.randn(n, 10, 10)).unsqueeze(1), y


if __name__ == "__main__":
    torch.manual_seed(0)
    stack = build(channels=12, depth=10)
    opt = torch.optim.SGD(stack, lr=0.02, momentum=0.9)
    for step in range(40):
        x, y = stripes(32)
        loss = F.cross_entropy(forward(x, stack), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        if step % 10 == 0:
            print(step, f"loss {loss.item():.4f}")
