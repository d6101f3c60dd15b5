"""ConvNeXt-like network in float16: GradScaler, unscaling before clipping, channels last."""

import argparse

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--side", type=int, default=224)
parser.add_argument("--width", type=int, default=96)
parser.add_argument("--steps", type=int, default=50)
args = parser.parse_args()


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.gamma = nn.Parameter(1e-6 * torch.ones(width))

    def forward(self, x):
        h = self.mlp(self.norm(self.dwconv(x).permute(0, 2, 3, 1)))
        return x + (self.gamma * h).permute(0, 3, 1, 2)


def build(width, depths=(3, 3, 9, 3), classes=1000):
    layers = [nn.Conv2d(3, width, 4, 4), LayerNorm2d(width)]
    for i, depth in enumerate(depths):
        if i:
            layers += [LayerNorm2d(width), nn.Conv2d(width, 2 * width, 2, 2)]
            width *= 2
        layers += [Block(width) for _ in range(depth)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(width), nn.Linear(width, classes))


torch.backends.cudnn.benchmark = True
torch.backends.cuda.matmul.allow_tf32 = True
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
model = build(args.width).to(device, memory_format=torch.channels_last)
optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.05)
scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
criterion = nn.CrossEntropyLoss(label_smoothing=0.1)
for step in range(args.steps):
    images = torch.randn(args.batch_size, 3, args.side, args.side)
    images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
    labels = torch.randint(0, 1000, (args.batch_size,)).to(device)
    optimizer.zero_grad()
    with torch.autocast(device.type, dtype=torch.float16 if device.type == "cuda" else torch.bfloat16):
        loss = criterion(model(images), labels)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    scaler.step(optimizer)
    scaler.update()
    print(f"step {step} loss {loss.item():.4f} norm {norm.item():.3f} scale {scaler.get_scale():.0f}")
