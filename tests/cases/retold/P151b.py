# image classifier, checkpointed convolution stages, raw pixels in
import torch
import torch.nn as nn
from torch.utils.checkpoint import checkpoint_sequential

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"


def stage(c_in, c_out):
    conv = nn.Conv2d(c_in, c_out, 3, padding=1)
    return nn.Sequential(conv, nn.GroupNorm(4, c_out), nn.ReLU(), nn.MaxPool2d(2))


features = nn.Sequential(stage(3, 16), stage(16, 16), stage(16, 32), stage(32, 32)).to(device)
classifier = nn.Linear(32, 2).to(device)
opt = torch.optim.Adam([*features.parameters(), *classifier.parameters()], lr=3e-3)

images = torch.rand(64, 3, 16, 16)
labels = torch.arange(64) % 2
images[labels == 1, 0, 4:12, 4:12] += 0.5
images = (images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True)
images, labels = images.to(device), labels.to(device)

for epoch in range(5):
    features.train(), classifier.train()
    for x, y in zip(images.split(16), labels.split(16)):
        opt.zero_grad()
        h = checkpoint_sequential(features, 2, x, use_reentrant=True)  # BUG
        # FIX: h = checkpoint_sequential(features, 2, x, use_reentrant=False)
        loss = nn.functional.cross_entropy(classifier(h.mean((2, 3))), y)
        loss.backward()
        opt.step()
    print(epoch, loss.item())
