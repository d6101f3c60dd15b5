# image-text contrastive-like regression: features of a batch of images from a small "extractor"
import numpy as np
import torch
from torch import nn

torch.manual_seed(0)
rng = np.random.default_rng(0)


def extractor(images, size=8):
    """Array (H, W) or list of such arrays -> pixel_values (B, 1, size, size)."""
    images = images if isinstance(images, list) else [images]
    # FIX+: crops = []
    for image in images:
        h, w = image.shape
        top, left = (h - size) // 2, (w - size) // 2
        crop = torch.from_numpy(image[top:top + size, left:left + size]).float()
        return crop[None, None]  # BUG
        # FIX: crops.append(crop[None])
    # FIX+: return torch.stack(crops)


def draw(n):
    pics = [rng.random((12, 10)) for _ in range(n)]
    return pics, torch.tensor([p[2:10, 1:9].mean() for p in pics]).float()


net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1), nn.Flatten(0))
opt = torch.optim.Adam(net.parameters(), lr=1e-2)
net.train()
for step in range(30):
    pics, target = draw(16)
    pred = net(extractor(pics))
    loss = (pred - target).pow(2).mean()
    opt.zero_grad()
    loss.backward()
    opt.step()
print("mse", round(loss.item(), 6))
