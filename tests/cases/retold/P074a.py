"""Segmentation training with a validation loop."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class BlobDataset(Dataset):
    def __init__(self, n, size=24, seed=0):
        g = torch.Generator().manual_seed(seed)
        yy, xx = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
        centre = torch.randint(6, size - 6, (n, 2), generator=g)
        dist = (yy - centre[:, 0].view(-1, 1, 1)) ** 2 + (xx - centre[:, 1].view(-1, 1, 1)) ** 2
        self.mask = (dist < 25).float()
        self.img = self.mask.unsqueeze(1) + 0.5 * torch.randn(n, 1, size, size, generator=g)

    def __len__(self):
        return len(self.img)

    def __getitem__(self, i):
        return self.img[i], self.mask[i]


def conv_bn(cin, cout):
    return nn.Sequential(nn.Conv2d(cin, cout, 3, padding=1, bias=False), nn.BatchNorm2d(cout), nn.ReLU(inplace=True))


class TinySeg(nn.Module):
    def __init__(self, width=12):
        super().__init__()
        self.enc = nn.Sequential(conv_bn(1, width), conv_bn(width, width))
        self.drop = nn.Dropout2d(0.1)
        self.cls = nn.Conv2d(width, 1, 1)

    def forward(self, x):
        return self.cls(self.drop(self.enc(x))).squeeze(1)


class SegTrainer:
    def __init__(self, args):
        self.model = TinySeg(args.width)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=args.lr)
        self.loaders = {
            "train": DataLoader(BlobDataset(64, seed=1), batch_size=8, shuffle=True),
            "val": DataLoader(BlobDataset(24, seed=2), batch_size=4),
        }

    def run_epoch(self, phase):
        is_train = phase == "train"
        self.model.train()  # BUG
        # FIX: self.model.train(is_train)
        inter = union = loss_sum = 0.0
        with torch.set_grad_enabled(is_train):
            for img, mask in self.loaders[phase]:
                logit = self.model(img)
                loss = F.binary_cross_entropy_with_logits(logit, mask)
                if is_train:
                    self.optimizer.zero_grad()
                    loss.backward()
                    self.optimizer.step()
                loss_sum += loss.item()
                pred = logit > 0
                inter += (pred & mask.bool()).sum().item()
                union += (pred | mask.bool()).sum().item()
        return loss_sum / len(self.loaders[phase]), inter / max(union, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=12)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    torch.manual_seed(0)
    trainer = SegTrainer(args)
    for epoch in range(args.epochs):
        for phase in ("train", "val"):
            loss, iou = trainer.run_epoch(phase)
            print(f"{epoch} {phase}: loss {loss:.4f} IoU {iou:.3f}")
