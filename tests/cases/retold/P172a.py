"""Fine-tunes a classifier from weights that were pretrained with DataParallel."""
import argparse
import os
import tempfile

import torch
import torch.nn as nn


class Encoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.stem = nn.Linear(16, dim)
        self.block = nn.Linear(dim, dim)
        self.head = nn.Linear(dim, 16)

    def forward(self, x):
        return self.head(torch.relu(self.block(torch.relu(self.stem(x)))))


def pretrain(path, x, steps):
    model = nn.DataParallel(Encoder())
    model.to(device)
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()
    for _ in range(steps):
        loss = nn.functional.mse_loss(model(x), x)
        opt.zero_grad()
        loss.backward()
        opt.step()
    torch.save({"state_dict": model.state_dict(), "steps": steps}, path)


class FineTuner:
    def __init__(self, ckpt, classes):
        self.model = Encoder()
        self.load_pretrained(ckpt)
        self.model.head = nn.Linear(32, classes)
        for p in self.model.stem.parameters():
            p.requires_grad_(False)
        self.model.to(device)
        self.opt = torch.optim.Adam([p for p in self.model.parameters() if p.requires_grad], lr=1e-2)

    def load_pretrained(self, path):
        ckpt = torch.load(path, map_location="cpu", weights_only=True)
        weights = ckpt["state_dict"]
        # FIX+: weights = {k.removeprefix("module."): v for k, v in weights.items()}
        self.model.load_state_dict(weights, strict=False)  # BUG
        # FIX: self.model.load_state_dict(weights)
        print("loaded weights after", ckpt["steps"], "steps")

    def train(self, x, y, steps):
        self.model.train()
        for _ in range(steps):
            loss = nn.functional.cross_entropy(self.model(x), y)
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
        return loss.item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--pretrain-steps", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    x = torch.randn(128, 16, device=device)
    y = (x[:, 0] > 0).long()
    with tempfile.TemporaryDirectory() as tmp:
        ckpt = os.path.join(tmp, "pretrained.pth")
        pretrain(ckpt, x, args.pretrain_steps)
        tuner = FineTuner(ckpt, classes=2)
    print("loss", tuner.train(x, y, args.steps))
