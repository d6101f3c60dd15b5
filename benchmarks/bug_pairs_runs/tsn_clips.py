"""Train the temporal segment network on invented video clips with the project's augmentation, and validate.

fix: fcebddc0
depth: live 60
expects: -
where: program
stands in: torchvision (a small network in place of its ResNet); old names and an old autograd function of torch
"""

import random
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader

torch.nn.init.normal, torch.nn.init.constant = torch.nn.init.normal_, torch.nn.init.constant_


class Compose:
    def __init__(self, steps):
        self.steps = steps

    def __call__(self, images):
        for step in self.steps:
            images = step(images)
        return images


class Small(nn.Module):
    def __init__(self, pretrained=False):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 7, 4, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, 2)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.pool(torch.relu(self.conv2(x))).flatten(1))


class Scale:
    def __init__(self, size, interpolation=Image.BILINEAR):
        self.size, self.interpolation = size, interpolation

    def __call__(self, image):
        factor = self.size / min(image.size)
        return image.resize([round(side * factor) for side in image.size], self.interpolation)


class CenterCrop:
    def __init__(self, size):
        self.size = size

    def __call__(self, image):
        left, top = ((side - self.size) // 2 for side in image.size)
        return image.crop((left, top, left + self.size, top + self.size))


transforms = stand_in("torchvision.transforms", Compose=Compose, Scale=Scale, CenterCrop=CenterCrop)
stand_in("torchvision", transforms=transforms, models=stand_in("torchvision.models", resnet18=Small))

import ops.basic_ops
from dataset import TSNDataSet
from models import TSN
from transforms import GroupCenterCrop, GroupNormalize, GroupScale, Stack, ToTorchFormatTensor

ops.basic_ops.SegmentConsensus = lambda kind, dim: lambda scores: scores.mean(dim, keepdim=True)
random.seed(0)
np.random.seed(0)
torch.manual_seed(0)
CLASSES, FRAMES = 3, 12
folder = Path(tempfile.mkdtemp())


def make_clips(name, count):
    lines = []
    for clip in range(count):
        path = folder / name / str(clip)
        path.mkdir(parents=True)
        label = clip % CLASSES
        base = np.random.randint(0, 120, (6, 8, 3))
        base[:, :, label] += 100
        for frame in range(1, FRAMES + 1):
            picture = np.clip(base + np.random.randint(-20, 20, base.shape), 0, 255).astype(np.uint8)
            Image.fromarray(picture).resize((320, 256), Image.BILINEAR).save(path / f"img_{frame:05d}.jpg")
        lines.append(f"{path} {FRAMES} {label}")
    (folder / f"{name}.txt").write_text("\n".join(lines))
    return str(folder / f"{name}.txt")


model = TSN(CLASSES, 3, "RGB", base_model="resnet18", dropout=0.5)
finish = [Stack(), ToTorchFormatTensor(), GroupNormalize(model.input_mean, model.input_std)]
shrink = [GroupScale(int(model.scale_size)), GroupCenterCrop(model.crop_size)]
training = DataLoader(
    TSNDataSet("", make_clips("train", 24), 3, transform=Compose([model.get_augmentation(), *finish])),
    batch_size=6, shuffle=True,
)  # fmt: skip
validation = DataLoader(
    TSNDataSet("", make_clips("val", 9), 3, random_shift=False, transform=Compose([*shrink, *finish])), batch_size=3
)
groups = model.get_optim_policies()
for group in groups:
    group["lr"], group["weight_decay"] = 0.01 * group["lr_mult"], 5e-4 * group["decay_mult"]
optimizer = torch.optim.SGD([group for group in groups if group["params"]], lr=0.01, momentum=0.9)
criterion = nn.CrossEntropyLoss()

for epoch in range(3):
    model.train()
    for clips, labels in training:
        loss = criterion(model(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 20)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        right = sum((model(clips).argmax(1) == labels).sum().item() for clips, labels in validation)
    print(f"epoch {epoch}: loss {loss.item():.3f} right {right} of {len(validation.dataset)}")
