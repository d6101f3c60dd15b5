"""ConvNeXt-flavoured classifier with channels-first normalisation."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset


class LayerNorm2d(nn.Module):
    """LayerNorm over the channels of a (B, C, H, W) map."""

    def __init__(self, channels, eps=1e-6):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x):
        spread, centre = torch.std_mean(x, dim=1, keepdim=True)  # BUG
        # FIX: spread, centre = torch.var_mean(x, dim=1, correction=0, keepdim=True)
        x = (x - centre) / (spread + self.eps)  # BUG
        # FIX: x = (x - centre) * torch.rsqrt(spread + self.eps)
        return self.gain[:, None, None] * x + self.shift[:, None, None]


class Block(nn.Module):
    def __init__(self, dim, layer_scale=1e-1):
        super().__init__()
        self.dw = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.up = nn.Conv2d(dim, 4 * dim, 1)
        self.down = nn.Conv2d(4 * dim, dim, 1)
        self.gamma = nn.Parameter(layer_scale * torch.ones(dim, 1, 1))

    def forward(self, x):
        y = self.down(F.gelu(self.up(self.norm(self.dw(x)))))
        return x + self.gamma * y


class TinyNeXt(nn.Module):
    def __init__(self, dims=(8, 16), n_classes=5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), LayerNorm2d(dims[0]))
        self.stage1 = Block(dims[0])
        self.reduce = nn.Sequential(LayerNorm2d(dims[0]), nn.Conv2d(dims[0], dims[1], 2, stride=2))
        self.stage2 = Block(dims[1])
        self.head = nn.Linear(dims[1], n_classes)

    def forward(self, img):
        x = self.stage2(self.reduce(self.stage1(self.stem(img))))
        return self.head(x.mean(dim=(-2, -1)))


def tinted_images(n, seed):
    g = torch.Generator().manual_seed(seed)
    palette = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]])
    y = torch.randint(0, 5, (n,), generator=g)
    x = palette[y][:, :, None, None] * 0.6 + 0.4 * torch.randn(n, 3, 32, 32, generator=g)
    return TensorDataset(x, y)


def main():
    torch.manual_seed(17)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train = DataLoader(tinted_images(256, 0), batch_size=32, shuffle=True)
    val = DataLoader(tinted_images(64, 1), batch_size=64)
    model = TinyNeXt().to(device)
    opt = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.05)
    for epoch in range(3):
        model.train()
        for x, y in train:
            opt.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(x.to(device)), y.to(device), label_smoothing=0.1)
            loss.backward()
            opt.step()
        model.eval()
        with torch.inference_mode():
            hits = sum((model(x.to(device)).argmax(1).cpu() == y).sum().item() for x, y in val)
        print(f"epoch {epoch}  loss {loss.item():.3f}  acc {hits / 64:.3f}")


if __name__ == "__main__":
    main()
