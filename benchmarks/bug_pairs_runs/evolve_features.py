"""Train a small face network with the project's ArcFace head, then extract features of a folder and match them.

fix: fdf7aa38
depth: live 60
expects: -
where: program
stands in: torchvision's picture folder and transforms, the old name of an iterator's next
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from stand_ins import stand_in
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

_BaseDataLoaderIter.next = _BaseDataLoaderIter.__next__


class ImageFolder(Dataset):
    def __init__(self, root, transform):
        self.classes = sorted(path.name for path in Path(root).iterdir())
        self.samples = [
            (path, k) for k, name in enumerate(self.classes) for path in sorted((Path(root) / name).iterdir())
        ]
        self.transform = transform

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, label = self.samples[index]
        return self.transform(Image.open(path).convert("RGB")), label


class Compose:
    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, picture):
        for transform in self.transforms:
            picture = transform(picture)
        return picture


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, picture):
        return picture.resize(self.size)


class CenterCrop(Resize):
    def __call__(self, picture):
        left, top = (picture.width - self.size[0]) // 2, (picture.height - self.size[1]) // 2
        return picture.crop((left, top, left + self.size[0], top + self.size[1]))


class ToTensor:
    def __call__(self, picture):
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


class ToPILImage:
    def __call__(self, picture):
        return Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy())


class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    def __call__(self, picture):
        return (picture - self.mean) / self.std


transforms = {one.__name__: one for one in (Compose, Resize, CenterCrop, ToTensor, ToPILImage, Normalize)}
stand_in("torchvision")
stand_in("torchvision.transforms", **transforms)
stand_in(
    "torchvision.transforms.functional",
    hflip=lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
)
stand_in("torchvision.datasets", ImageFolder=ImageFolder)

from head.metrics import ArcFace
from util.extract_feature_v1 import extract_feature

torch.manual_seed(0)
people, side = 8, 48
faces = nn.functional.interpolate(torch.rand(people, 3, 6, 6), size=(56, 56), mode="bilinear")


def folder(each):
    root = Path(tempfile.mkdtemp())
    for person in range(people):
        (root / f"person{person}").mkdir()
        for number in range(each):
            picture = (faces[person] + 0.15 * torch.randn(3, 56, 56)).clamp(0, 1)
            pixels = (picture * 255).byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(root / f"person{person}" / f"{number}.png")
    return root


backbone = nn.Sequential(
    nn.Conv2d(3, 16, 5, 3, 2), nn.BatchNorm2d(16), nn.PReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32),
    nn.PReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 64), nn.BatchNorm1d(64),
)  # fmt: skip
head = ArcFace(64, people, device_id=None, s=16.0, m=0.2)
transform = Compose([Resize([56, 56]), CenterCrop([side, side]), ToTensor(), Normalize([0.5] * 3, [0.5] * 3)])
train = DataLoader(ImageFolder(folder(12), transform), batch_size=16, shuffle=True, drop_last=True)
optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], lr=0.05, momentum=0.9)
backbone.train()
for epoch in range(3):
    for pictures, labels in train:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(head(backbone(pictures), labels), labels)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}")

checkpoint = Path(tempfile.mkdtemp()) / "backbone.pth"
torch.save(backbone.state_dict(), checkpoint)
gallery = folder(6)
features = extract_feature(
    str(gallery), backbone, str(checkpoint), input_size=[side, side], embedding_size=64, batch_size=12,
    device=torch.device("cpu"),
)  # fmt: skip
labels = np.array([label for _, label in ImageFolder(gallery, transform).samples])
likeness = features @ features.T - 2 * np.eye(len(features))
print("features", features.shape, "same person is nearest:", (labels[likeness.argmax(1)] == labels).mean())
