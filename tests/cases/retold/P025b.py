# Dice loss for tissue segmentation, small batches; class 3 is rare
import torch
import torch.nn as nn
import torch.nn.functional as F

torch.manual_seed(0)
CLASSES = ["background", "bone", "muscle", "lesion"]


def scans(n, size=16):
    mask = torch.zeros(n, size, size, dtype=torch.long)
    mask[:, 4:12, 2:8] = 1
    mask[:, 6:14, 9:13] = 2
    for i in range(n):
        if torch.rand(()) < 0.3:
            r, c = torch.randint(0, size - 3, (2,)).tolist()
            mask[i, r:r + 3, c:c + 3] = 3
    image = mask[:, None].float() / 3 + 0.1 * torch.randn(n, 1, size, size)
    return image, mask


def soft_dice(prob, mask):
    target = F.one_hot(mask).movedim(-1, 1).float()  # BUG
    # FIX: target = F.one_hot(mask, num_classes=len(CLASSES)).movedim(-1, 1).float()
    scores = []
    for p, t in zip(prob.unbind(1), target.unbind(1)):
        scores.append((2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    return 1 - torch.stack(scores).mean()


net = nn.Sequential(
    nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(),
    nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(),
    nn.Conv2d(12, len(CLASSES), 1),
)
opt = torch.optim.Adam(net.parameters(), lr=1e-2)

net.train()
for step in range(40):
    image, mask = scans(2)
    logits = net(image)
    loss = soft_dice(logits.softmax(dim=1), mask) + F.cross_entropy(logits, mask)
    opt.zero_grad()
    loss.backward()
    opt.step()
    if step % 10 == 0:
        print(step, "%.4f" % loss.item())

net.eval()
with torch.no_grad():
    image, mask = scans(32)
    pred = net(image).argmax(1)
    for c, name in enumerate(CLASSES):
        inter = ((pred == c) & (mask == c)).sum().item()
        print(name, "dice %.3f" % (2 * inter / max((pred == c).sum().item() + (mask == c).sum().item(), 1)))
