import io
import os
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

CUDA = torch.cuda.is_available()


@dataclass
class LoaderConfig:
    batch_size: int = 32
    num_workers: int = 0  # BUG
    # FIX: num_workers: int = min(2, os.cpu_count() or 1)
    # FIX+: pin_memory: bool = CUDA
    # FIX+: persistent_workers: bool = True
    drop_last: bool = True


class JpegLike(Dataset):
    """Pictures kept compressed on disk; decoding, cropping and colour jitter happen in __getitem__."""

    def __init__(self, n, size=72, crop=64, seed=0):
        rng = np.random.default_rng(seed)
        self.crop = crop
        self.labels = rng.integers(0, 4, n)
        self.blobs = []
        for c in self.labels:
            img = rng.integers(0, 160, (size, size, 3), dtype=np.uint8)
            half = size // 2
            r, q = divmod(int(c), 2)
            img[r * half:(r + 1) * half, q * half:(q + 1) * half] += 80
            buf = io.BytesIO()
            np.savez_compressed(buf, img)
            self.blobs.append(buf.getvalue())

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        with np.load(io.BytesIO(self.blobs[i])) as z:
            img = torch.from_numpy(z["arr_0"]).permute(2, 0, 1).float() / 255
        r, q = torch.randint(0, img.shape[-1] - self.crop + 1, (2,)).tolist()
        img = img[:, r:r + self.crop, q:q + self.crop]
        img = img * (0.8 + 0.4 * torch.rand(3, 1, 1))
        return (img - 0.4) / 0.25, int(self.labels[i])


def main():
    torch.manual_seed(0)
    device = torch.device("cuda" if CUDA else "cpu")
    print(f"{os.cpu_count()} CPUs, device {device}")
    loader = DataLoader(JpegLike(256), shuffle=True, **asdict(LoaderConfig()))  # BUG
    model = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=4), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 4),
    ).to(device)
    opt = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    model.train()
    for epoch in range(3):
        total = torch.zeros((), device=device)
        for x, y in loader:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            loss = nn.functional.cross_entropy(model(x), y)
            opt.zero_grad(set_to_none=True)
            loss.backward()
            opt.step()
            total += loss.detach()
        print(f"epoch {epoch} loss {total.item() / len(loader):.3f}")


if __name__ == "__main__":
    main()
