"""A plain loop under Hugging Face Accelerate: accumulation, clipping, schedule, gathered metrics."""

import argparse

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class PatchMixer(nn.Module):
    """MLP-Mixer on 64x64 images."""

    def __init__(self, width, depth, patch=8, side=64, classes=10):
        super().__init__()
        tokens = (side // patch) ** 2
        self.embed = nn.Conv2d(3, width, patch, patch)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * depth))
        self.mix_tokens = nn.ModuleList(self.mlp(tokens, 2 * tokens) for _ in range(depth))
        self.mix_channels = nn.ModuleList(self.mlp(width, 4 * width) for _ in range(depth))
        self.head = nn.Linear(width, classes)

    @staticmethod
    def mlp(width, hidden):
        return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        for i, (tokens, channels) in enumerate(zip(self.mix_tokens, self.mix_channels)):
            x = x + tokens(self.norms[2 * i](x).transpose(1, 2)).transpose(1, 2)
            x = x + channels(self.norms[2 * i + 1](x))
        return self.head(x.mean(dim=1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--accumulate", type=int, default=2)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=8)
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--mixed-precision", default="bf16" if torch.cuda.is_available() else "no")
    args = parser.parse_args()

    accelerator = Accelerator(gradient_accumulation_steps=args.accumulate, mixed_precision=args.mixed_precision)
    data = TensorDataset(torch.randn(args.samples, 3, 64, 64), torch.randint(0, 10, (args.samples,)))
    loader = DataLoader(data, args.batch_size, shuffle=True)
    model = PatchMixer(args.width, args.depth)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=len(loader) * 2)
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)

    for epoch in range(2):
        model.train()
        for step, (images, labels) in enumerate(loader):
            with accelerator.accumulate(model):
                logits = model(images)
                loss = nn.functional.cross_entropy(logits, labels)
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            if step % 5 == 0:
                predictions, truth = accelerator.gather_for_metrics((logits.argmax(-1), labels))
                accuracy = (predictions == truth).float().mean().item()
                accelerator.print(f"{epoch}.{step} loss {loss.item():.4f} accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
