# Land-cover segmentation on small tiles. 255 = no label (clouds, outside of the survey area).
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

VOID = 255
N_CLASSES = 4


class Tiles(Dataset):
    def __init__(self, n, seed):
        g = torch.Generator().manual_seed(seed)
        coarse = torch.randint(N_CLASSES, (n, 4, 4), generator=g)
        self.masks = coarse.repeat_interleave(4, 1).repeat_interleave(4, 2)
        onehot = F.one_hot(self.masks, N_CLASSES).permute(0, 3, 1, 2).float()
        self.images = onehot[:, :3] + 0.3 * torch.randn(n, 3, 16, 16, generator=g)
        clouds = torch.rand(n, generator=g)
        for i, c in enumerate(clouds.tolist()):
            if c < 0.35:
                self.masks[i] = VOID
            elif c < 0.6:
                self.masks[i, : int(16 * c)] = VOID

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i], self.masks[i]


def pixel_loss(logits, target):
    labelled = target.ne(VOID)
    per_pixel = F.cross_entropy(logits, target, ignore_index=VOID, reduction="none")
    return per_pixel.sum() / labelled.sum()  # BUG
    # FIX: return per_pixel.sum() / labelled.sum().clamp(min=1)


@torch.no_grad()
def pixel_accuracy(model, loader):
    model.eval()
    hit = total = 0
    for image, mask in loader:
        keep = mask != VOID
        hit += (model(image).argmax(1)[keep] == mask[keep]).sum().item()
        total += keep.sum().item()
    return hit / max(total, 1)


torch.manual_seed(11)
model = nn.Sequential(
    nn.Conv2d(3, 16, 3, padding=1),
    nn.GroupNorm(4, 16),
    nn.ReLU(),
    nn.Conv2d(16, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, N_CLASSES, 1),
)
train_loader = DataLoader(Tiles(60, seed=1), batch_size=2, shuffle=True)
val_loader = DataLoader(Tiles(20, seed=2), batch_size=10)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

for epoch in range(3):
    model.train()
    losses = []
    for image, mask in train_loader:
        optimizer.zero_grad()
        loss = pixel_loss(model(image), mask)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    acc = pixel_accuracy(model, val_loader)
    print(f"epoch {epoch}  loss {sum(losses) / len(losses):.4f}  acc {acc:.3f}")
