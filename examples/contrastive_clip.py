"""CLIP-style contrastive training: an image tower, a text tower, a learned temperature."""

import argparse
import math

import torch
import torch.nn.functional as F
from torch import nn


class TextTower(nn.Module):
    def __init__(self, width, layers, vocabulary=49408, length=77, out=512):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(length, width).normal_(std=0.01))
        layer = nn.TransformerEncoderLayer(
            width, width // 64, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.project = nn.Parameter(torch.randn(width, out) * width**-0.5)
        mask = torch.full((length, length), float("-inf")).triu_(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, text):
        x = self.blocks(self.tokens(text) + self.positions, mask=self.mask)
        end = text.argmax(dim=-1)  # the end token has the highest number
        return x[torch.arange(len(x), device=x.device), end] @ self.project


class ImageTower(nn.Module):
    def __init__(self, width, layers, patch=32, side=224, out=512):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, patch, bias=False)
        self.cls = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positions = nn.Parameter(torch.randn((side // patch) ** 2 + 1, width) * width**-0.5)
        layer = nn.TransformerEncoderLayer(
            width, width // 64, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.project = nn.Linear(width, out, bias=False)

    def forward(self, image):
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), 1, -1), x], dim=1) + self.positions
        return self.project(self.blocks(x)[:, 0])


class Clip(nn.Module):
    def __init__(self, width, layers, side):
        super().__init__()
        self.visual, self.text = ImageTower(width, layers, side=side), TextTower(width, layers)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, image, text):
        a, b = F.normalize(self.visual(image), dim=-1), F.normalize(self.text(text), dim=-1)
        return self.logit_scale.exp() * a @ b.T


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_default_device(device)
    model = Clip(args.width, args.layers, args.side)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.2)
    for step in range(args.steps):
        image = torch.randn(args.batch_size, 3, args.side, args.side)
        text = torch.randint(0, 49407, (args.batch_size, 77))
        with torch.autocast(device, dtype=torch.bfloat16):
            logits = model(image, text)
            target = torch.arange(args.batch_size)
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        print(f"{step} loss {loss.item():.4f} scale {model.logit_scale.exp().item():.1f}")


if __name__ == "__main__":
    main()
