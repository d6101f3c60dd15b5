import torch
from torch import nn


class ConvStage(nn.Sequential):
    def __init__(self, cin, cout, stride):
        super().__init__(
            nn.Conv2d(cin, cout, 3, stride, 1, bias=False),
            nn.BatchNorm2d(cout),
            nn.ReLU(inplace=True),
        )


class Backbone(nn.Module):
    def __init__(self, widths=(8, 16, 32), fixed=("stem", "stage0")):
        super().__init__()
        self.stem = ConvStage(3, widths[0], 2)
        for k, (a, b) in enumerate(zip(widths[:-1], widths[1:])):
            self.add_module(f"stage{k}", ConvStage(a, b, 2))
        self.n_stages = len(widths) - 1
        self.fixed = fixed  # BUG
        # FIX: self.fixed = fixed
        # FIX: self.lock()

    def lock(self):
        for name in self.fixed:
            part = getattr(self, name)
            part.eval()
            for p in part.parameters():
                p.requires_grad_(False)

    def train(self, mode=True):
        super().train(mode)
        self.lock()  # BUG
        return self

    def forward(self, x):
        x = self.stem(x)
        for k in range(self.n_stages):
            x = getattr(self, f"stage{k}")(x)
        return x


class CountHead(nn.Module):
    """Crowd-counting: a density map, summed over the picture."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.density = nn.Conv2d(32, 1, 1)

    def forward(self, x):
        return nn.functional.softplus(self.density(self.backbone(x))).sum((1, 2, 3))


def scenes(n, g):
    x = torch.randn(n, 3, 32, 32, generator=g) * 0.1
    counts = torch.randint(1, 10, (n,), generator=g)
    for img, c in zip(x, counts.tolist()):
        for r, q in torch.randint(2, 28, (c, 2), generator=g).tolist():
            img[:, r:r + 3, q:q + 3] += 1
    return x, counts.float()


def evaluate(model, x, y):
    model.eval()
    with torch.no_grad():
        mae = (model(x) - y).abs().mean().item()
    model.train()
    return mae


def main():
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(0)
    pretrained = Backbone(fixed=()).state_dict()  # stands in for a checkpoint
    backbone = Backbone()
    backbone.load_state_dict(pretrained)
    model = CountHead(backbone)
    trainable = [p for p in model.parameters() if p.requires_grad]
    print(f"{len(trainable)} trainable tensors")
    opt = torch.optim.Adam(trainable, lr=3e-3)
    x, y = scenes(256, g)
    for epoch in range(3):
        for idx in torch.randperm(192, generator=g).split(32):
            loss = nn.functional.l1_loss(model(x[idx]), y[idx])
            opt.zero_grad()
            loss.backward()
            opt.step()
        print(f"epoch {epoch} val MAE {evaluate(model, x[192:], y[192:]):.3f}")


if __name__ == "__main__":
    main()
