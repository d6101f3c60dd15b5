import io
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def encode(img):
    buf = io.BytesIO()
    np.savez_compressed(buf, img=img)
    return buf.getvalue()


def decode(blob):
    with np.load(io.BytesIO(blob)) as z:
        return z["img"]


class Shards(Dataset):
    """Grey-level micrographs kept as compressed bytes, with a cell-size regression target."""

    def __init__(self, n, seed):
        rng = np.random.default_rng(seed)
        self.samples = []
        yy, xx = np.mgrid[:28, :28]
        for _ in range(n):
            r = rng.uniform(3, 11)
            cy, cx = rng.uniform(11, 17, 2)
            disc = ((yy - cy) ** 2 + (xx - cx) ** 2 < r * r) * 140
            img = np.clip(disc + rng.normal(60, 20, (28, 28)), 0, 255).astype(np.uint8)
            self.samples.append((encode(img), np.float32(r / 11)))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        blob, r = self.samples[i]
        return decode(blob), r


def to_batch(items, flip_p=0.0):
    imgs, radii = zip(*items)
    x = torch.from_numpy(np.stack(imgs)).unsqueeze(1)
    if flip_p and torch.rand(()) < flip_p:
        x = x.flip(-1)
    x = x.to(dtype=torch.get_default_dtype())  # BUG
    # FIX: x = x.to(dtype=torch.get_default_dtype()).div(255.0).sub(0.35).div(0.25)
    return x, torch.tensor(np.array(radii))


net = None


def build():
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, stride=2), nn.Tanh(),
        nn.Conv2d(8, 16, 5, stride=2), nn.Tanh(),
        nn.Flatten(), nn.Linear(16 * 4 * 4, 32), nn.Tanh(), nn.Linear(32, 1), nn.Flatten(0),
    )


if __name__ == "__main__":
    torch.manual_seed(8)
    train = DataLoader(Shards(320, 0), 32, shuffle=True, collate_fn=partial(to_batch, flip_p=0.5))
    test = DataLoader(Shards(64, 1), 64, collate_fn=to_batch)
    net = build()
    opt = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(4):
        net.train()
        for x, r in train:
            opt.zero_grad()
            loss = nn.functional.mse_loss(net(x), r)
            loss.backward()
            opt.step()
        net.eval()
        with torch.no_grad():
            errs = torch.cat([(net(x) - r).abs() for x, r in test])
        print(f"epoch {epoch} train {loss.item():.4f} test mae {errs.mean():.4f}")
