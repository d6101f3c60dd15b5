import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset


class BoxDataset(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        self.imgs = torch.zeros(n, 1, 24, 24)
        self.deltas = torch.zeros(n, 4)
        self.fg = torch.rand(n, generator=g) < 0.8
        for i in range(n):
            cx, cy = torch.randint(6, 18, (2,), generator=g).tolist()
            h, w = torch.randint(2, 6, (2,), generator=g).tolist()
            if self.fg[i]:
                self.imgs[i, 0, cy - h:cy + h, cx - w:cx + w] = 1
                self.deltas[i] = torch.tensor([(cx - 12) / 12, (cy - 12) / 12, w / 6 - .5, h / 6 - .5])

    def __len__(self):
        return len(self.imgs)

    def __getitem__(self, i):
        return self.imgs[i], self.fg[i].float(), self.deltas[i]


class RPNHead(nn.Module):
    def __init__(self, ch):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, ch, 3, 2, 1), nn.ReLU(),
                                  nn.Conv2d(ch, ch, 3, 2, 1), nn.ReLU())
        self.cls, self.reg = nn.Linear(ch * 36, 1), nn.Linear(ch * 36, 4)

    def forward(self, x):
        f = self.conv(x).flatten(1)
        return self.cls(f).squeeze(1), self.reg(f)


class RPNLoss:
    """Objectness and box terms, normalised as in py-faster-rcnn."""

    def __init__(self, sigma):
        self.sigma = sigma
        self.smooth_l1 = nn.SmoothL1Loss(reduction="sum", beta=self.sigma)  # BUG
        # FIX: self.smooth_l1 = nn.SmoothL1Loss(reduction="sum", beta=1.0 / self.sigma ** 2)

    def __call__(self, score, delta, fg, gt):
        cls = F.binary_cross_entropy_with_logits(score, fg)
        keep = fg.bool()
        return cls, self.smooth_l1(delta[keep], gt[keep]) / max(int(keep.sum()), 1)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--rpn_sigma", type=float, default=3.0)
    ap.add_argument("--reg_weight", type=float, default=1.0)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--epochs", type=int, default=4)
    args = ap.parse_args()
    torch.manual_seed(0)
    head, criterion = RPNHead(8), RPNLoss(sigma=args.rpn_sigma)
    opt = torch.optim.Adam(head.parameters(), lr=args.lr)
    train = DataLoader(BoxDataset(128, 0), 16, shuffle=True)
    test = BoxDataset(64, 1)
    for epoch in range(args.epochs):
        head.train()
        for img, fg, gt in train:
            cls, reg = criterion(*head(img), fg, gt)
            opt.zero_grad()
            (cls + args.reg_weight * reg).backward()
            opt.step()
        head.eval()
        with torch.no_grad():
            mae = (head(test.imgs)[1] - test.deltas)[test.fg].abs().mean()
        print(f"{epoch}: cls {cls.item():.3f} reg {reg.item():.3f} val mae {mae.item():.3f}")


if __name__ == "__main__":
    main()
