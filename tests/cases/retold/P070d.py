"""Fine-tune a small MAE-style encoder as a classifier; learning rate follows the linear scaling rule."""
import argparse
import math

import torch
from torch import nn


def get_args_parser():
    p = argparse.ArgumentParser("finetune", add_help=False)
    p.add_argument("--batch_size", default=32, type=int)
    p.add_argument("--accum_iter", default=2, type=int)
    p.add_argument("--blr", default=5e-3, type=float, help="base lr: absolute lr = blr * total batch / 256")
    p.add_argument("--lr", default=None, type=float)
    p.add_argument("--warmup_steps", default=3, type=int)
    p.add_argument("--updates", default=24, type=int)
    p.add_argument("--seed", default=0, type=int)
    return p


class Encoder(nn.Module):
    def __init__(self, n_patch=16, patch_dim=48, dim=64, classes=6):
        super().__init__()
        self.embed = nn.Linear(patch_dim, dim)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        pos = torch.randn(1, n_patch + 1, dim) * 0.02
        self.pos = nn.Parameter(pos, requires_grad=False)  # fixed, as in MAE
        block = nn.TransformerEncoderLayer(dim, 4, 2 * dim, 0.0, nn.functional.gelu, batch_first=True)
        self.blocks = nn.TransformerEncoder(block, 2)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        h = self.embed(x)
        h = torch.cat([self.cls.expand(len(h), -1, -1), h], 1) + self.pos
        return self.head(self.blocks(h)[:, 0])


def lr_at(step, args):
    if step < args.warmup_steps:
        return args.lr * (step + 1) / args.warmup_steps
    t = (step - args.warmup_steps) / (args.updates - args.warmup_steps)
    return args.lr * 0.5 * (1 + math.cos(math.pi * t))


def main(args):
    torch.manual_seed(args.seed)
    y = torch.randint(6, (768,))
    x = torch.randn(6, 16, 48)[y] * 0.5 + torch.randn(768, 16, 48)

    eff_batch_size = args.batch_size * args.accum_iter
    if args.lr is None:
        args.lr = args.blr * eff_batch_size  # BUG
        # FIX: args.lr = args.blr * eff_batch_size / 256
    print(f"actual lr: {args.lr:.2e}, effective batch size: {eff_batch_size}")

    model = Encoder()
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=args.lr, betas=(0.9, 0.95), weight_decay=0.05)
    model.train()
    for step in range(args.updates):
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step, args)
        optimizer.zero_grad()
        total = 0.0
        for _ in range(args.accum_iter):
            idx = torch.randint(640, (args.batch_size,))
            loss = nn.functional.cross_entropy(model(x[idx]), y[idx]) / args.accum_iter
            loss.backward()
            total += loss.item()
        optimizer.step()
        if step % 6 == 5:
            print(f"update {step + 1} loss {total:.3f}")
    model.eval()
    with torch.no_grad():
        print("acc", (model(x[640:]).argmax(1) == y[640:]).float().mean().item())


if __name__ == "__main__":
    main(get_args_parser().parse_args())
