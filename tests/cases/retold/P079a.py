"""Detector-like model with a `frozen_stages` option (mmdet style)."""
import argparse
import torch
import torch.nn as nn
import torch.nn.functional as F


class Backbone(nn.Module):
    def __init__(self, widths=(8, 16, 32), frozen_stages=-1):
        super().__init__()
        self.frozen_stages = frozen_stages  # BUG
        chans = (3,) + tuple(widths)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, 2, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
            for i, o in zip(chans[:-1], chans[1:]))
        # FIX+: self.train(self.training)

    def _freeze_stages(self):
        for stage in self.stages[:max(self.frozen_stages, 0)]:
            stage.eval()
            for p in stage.parameters():
                p.requires_grad = False

    def train(self, mode=True):
        super().train(mode)
        self._freeze_stages()  # BUG
        return self

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return x


class BoxRegressor(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.backbone(x).mean(dim=(2, 3)))


def build_optimizer(model, lr, weight_decay):
    decay = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    no_decay = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": no_decay, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr)


class Runner:
    def __init__(self, args):
        self.args = args
        self.model = BoxRegressor(Backbone(frozen_stages=args.frozen_stages))
        self.before = self.model.backbone.stages[0][0].weight.detach().clone()
        self.optimizer = build_optimizer(self.model, args.lr, 0.05)

    def batch(self, n=8):
        img = torch.rand(n, 3, 32, 32) * 0.2
        box = torch.rand(n, 4) * 0.4 + torch.tensor([0.0, 0.0, 0.5, 0.5])
        for i, (x0, y0, x1, y1) in enumerate((box * 32).long().tolist()):
            img[i, :, y0:y1 + 1, x0:x1 + 1] += 0.8
        return img, box

    def run(self):
        for it in range(self.args.iters):
            img, box = self.batch()
            loss = F.smooth_l1_loss(self.model(img), box)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        moved = (self.model.backbone.stages[0][0].weight - self.before).abs().max().item()
        print(f"loss {loss.item():.4f} first stage moved {moved:.2e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--frozen-stages", type=int, default=2)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--iters", type=int, default=20)
    args = parser.parse_args()
    torch.manual_seed(0)
    Runner(args).run()
