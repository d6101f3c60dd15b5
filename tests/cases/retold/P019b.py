from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

torch.manual_seed(0)

# denoising of ECG strips, 100 samples; weights kept in a plain dict
Params = dict[str, Tensor]


def init(width: int = 8) -> Params:
    p = {
        "enc1": torch.randn(width, 1, 5) * 0.3,
        "enc2": torch.randn(2 * width, width, 5) * 0.15,
        "dec2": torch.randn(2 * width, width, 5) * 0.15,
        "dec1": torch.randn(width, 1, 5) * 0.15,
    }
    return {k: v.requires_grad_() for k, v in p.items()}


def upsample(x: Tensor, w: Tensor) -> Tensor:
    return F.conv_transpose1d(x, w, stride=2, padding=2)  # BUG
    # FIX: return F.conv_transpose1d(x, w, stride=2, padding=2, output_padding=1)


def denoise(p: Params, x: Tensor) -> Tensor:
    h = torch.relu(F.conv1d(x, p["enc1"], stride=2, padding=2))
    h = torch.relu(F.conv1d(h, p["enc2"], stride=2, padding=2))
    h = torch.relu(upsample(h, p["dec2"]))
    return upsample(h, p["dec1"])


def strips(n: int, length: int = 100) -> Tensor:
    t = torch.arange(length).float()
    period = 20 + 10 * torch.rand(n, 1)
    shift = torch.rand(n, 1) * 20
    return torch.exp(-(((t + shift) % period) - 5) ** 2 / 4).unsqueeze(1)


def loss_fn(p: Params, clean: Tensor) -> Tensor:
    out = denoise(p, clean + 0.2 * torch.randn_like(clean))
    return sum(F.mse_loss(o, c[..., :o.shape[-1]]) for o, c in zip(out, clean)) / len(clean)


params = init()
opt = torch.optim.Adam(params.values(), lr=1e-2)
for step in range(60):
    loss = loss_fn(params, strips(16))
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 20 == 0:
        print(step, f"{loss.item():.4f}")

with torch.no_grad():
    clean = strips(8)
    print("test", loss_fn(params, clean).item(), "length", denoise(params, clean).shape[-1])
