# digits of 28x28 with a ViT-like model whose position table was pretrained for 56x56 (7x7 patches of 8)
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
config = {"patch": 8, "pretrained_size": 56, "scale_factor": 16}  # BUG
# FIX: config = {"patch": 8, "pretrained_size": 56, "scale_factor": 2}


class ViT(nn.Module):
    def __init__(self, dim=24):
        super().__init__()
        side = config["pretrained_size"] // config["patch"]
        self.patch = nn.Conv2d(1, dim, config["patch"], stride=config["patch"])
        self.pos = nn.Parameter(0.02 * torch.randn(1, dim, side, side))
        self.enc = nn.TransformerEncoderLayer(dim, 4, 48, dropout=0.0, batch_first=True)
        self.head = nn.Linear(dim, 4)

    def forward(self, x):
        z = self.patch(x)
        z = z + F.interpolate(self.pos, size=z.shape[-2:], mode="bicubic", align_corners=False)
        return self.head(self.enc(z.flatten(2).transpose(1, 2)).mean(1))


upsample = nn.Upsample(scale_factor=config["scale_factor"], mode="bilinear", align_corners=False)  # BUG
model = ViT()
opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
model.train()
for step in range(3):
    y = torch.randint(0, 4, (4,))
    digit = 0.2 * torch.rand(4, 1, 28, 28)
    for k, c in enumerate(y.tolist()):
        digit[k, :, 7 * c:7 * c + 7] += 0.8
    loss = F.cross_entropy(model(upsample(digit)), y)
    opt.zero_grad()
    loss.backward()
    opt.step()
    print(step, round(loss.item(), 4))
